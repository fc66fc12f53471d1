"""The values of a swept key, read from the command line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dml.errors import UserError
from dml.experiments.sweep.space import Dimension, read_space, value_of


@given(st.floats(-100, 100), st.floats(0.01, 100), st.integers(2, 40))
def test_a_linear_range_is_numpys(low, width, count):
    (dimension,) = read_space([f"key={low!r}:{low + width!r}:{count}"], ranges=False)
    numbers = [float(choice) for choice in dimension.choices]
    np.testing.assert_allclose(numbers, np.linspace(low, low + width, count), rtol=1e-8, atol=1e-8)


@given(st.floats(1e-6, 10), st.floats(1.5, 1e6), st.integers(2, 40))
def test_a_logarithmic_range_is_numpys(low, ratio, count):
    (dimension,) = read_space([f"key={low!r}:{low * ratio!r}:{count}:log"], ranges=False)
    numbers = [float(choice) for choice in dimension.choices]
    np.testing.assert_allclose(numbers, np.geomspace(low, low * ratio, count), rtol=1e-8)


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("k=5:14:10", tuple(str(d) for d in range(5, 15))),  # a key of type int takes them
        ("k=1:512:10:log", tuple(str(2**i) for i in range(10))),
        ("k=1:2:3", ("1", "1.5", "2")),
        ("k=10:100:3:log:int", ("10", "32", "100")),
        ("k=0.1:2.0:3", ("0.1", "1.05", "2")),
        ("--k=adam,sgd", ("adam", "sgd")),
        ("k=[8,16],[16, 32],null", ("[8,16]", "[16, 32]", "null")),
        ("k=cuda:0,cpu", ("cuda:0", "cpu")),
        ("k=C:photos", ("C:photos",)),
    ],
)
def test_values_are_written_as_the_recipe_reads_them(text, choices):
    assert read_space([text], ranges=False) == [Dimension("k", choices)]


def test_a_range_to_draw_from():
    assert read_space(["lr=1e-4:1e-1:log", "d=5:100:int", "p=0:1"], ranges=True) == [
        Dimension("lr", (), 1e-4, 1e-1, log=True),
        Dimension("d", (), 5, 100, whole=True),
        Dimension("p", (), 0, 1),  # a share, say: not 0 and 1 alone
    ]


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ([], "nothing to sweep"),
        (["margin"], "give KEY=VALUES"),
        (["margin="], "give KEY=VALUES"),
        (["=1,2"], "give KEY=VALUES"),
        (["k=1:2"], "give the number of values"),
        (["k=2:1:5"], "the range is empty"),
        (["k=1:1:5"], "the range is empty"),
        (["k=1:2:1"], "at least 2"),
        (["k=1:2:x"], "in numbers"),
        (["k=1:2:3:4"], "give a:b:n"),
        (["k=0:1:5:log"], "must be above 0"),
        (["k=1.5:3:2:int"], "must be whole"),
        (["k=1:3:6:int"], "given twice"),
        (["k=1,,2"], "a value is empty"),
        (["k=1,2,1"], "the value 1 is given twice"),
        (["k=1,2", "k=3,4"], "k is given twice"),
        (["seed_everything=1,2"], "give the seeds as `seeds`"),
    ],
)
def test_a_mistake_is_told(over, told):
    with pytest.raises(UserError) as raised:
        read_space(over, ranges=False)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("null", None), ("-3", -3), ("{a: 1}", "{a: 1}"), ("a: b: c", "a: b: c")]
)
def test_values_for_tables(text, value):
    assert value_of(text) == value
