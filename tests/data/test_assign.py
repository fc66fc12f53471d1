"""Few labels: counts per class, nested draws, nothing but the training part shrinks, clear lines for what cannot be."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentError, ArgumentParser

from dml.cli.recipe.messages import one_line
from dml.data import ClassDisjointSplit, ImageData, StratifiedSplit
from dml.data.splits.assign import draw_labelled
from dml.errors import UserError


def ready(**keys) -> ImageData:
    data = ImageData(split=StratifiedSplit(val=0.2, test=0.2), **keys)
    data.setup("fit")
    return data


def per_class(data: ImageData) -> list[int]:
    return np.bincount(data.catalog.labels[data.parts.train], minlength=10).tolist()


def test_only_the_training_part_shrinks_and_nothing_is_lost() -> None:
    whole, few = ready(), ready(labelled_per_class=3)
    assert per_class(few) == [3] * 10
    for part in ("val", "test"):
        assert np.array_equal(getattr(whole.parts, part), getattr(few.parts, part))
    assert np.array_equal(np.union1d(few.parts.train, few.unlabelled), whole.parts.train)
    assert len(whole.unlabelled) == 0
    trained = np.concatenate([b.ids.numpy() for b in few.train_dataloader()])
    assert sorted(trained) == few.parts.train.tolist()
    references = np.concatenate([b.ids.numpy() for b in few.val_dataloader()[1]])
    assert np.array_equal(references, few.parts.train)  # k-NN may use no other label either


def test_a_share_is_of_each_class_and_the_whole_share_is_all() -> None:
    whole, tenth = ready(), ready(labelled_share=0.1)
    assert per_class(tenth) == [int(0.1 * size + 0.5) for size in per_class(whole)]
    assert np.array_equal(ready(labelled_share=1.0).parts.train, whole.parts.train)


@given(st.lists(st.integers(0, 4), min_size=5, max_size=60), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 99))
def test_smaller_draws_lie_in_larger_ones(labels, one, other, seed) -> None:
    labels = np.array([0, 1, 2, 3, 4, *labels])
    names = list("abcde")
    shares = sorted([max(one, 0.5), max(other, 0.5)])  # a half of one rounds up: no class is left empty
    less, more = (draw_labelled(labels, np.arange(len(labels)), None, share, seed, names) for share in shares)
    assert np.isin(less, more).all()
    assert np.isin(draw_labelled(labels, np.arange(len(labels)), 1, 1.0, seed, names), less).all()


def test_the_seed_chooses_and_other_classes_do_not() -> None:
    labels, names = np.repeat(np.arange(3), 20), ["a", "b", "c"]
    first = draw_labelled(labels, np.arange(60), 5, 1.0, 0, names)
    assert np.array_equal(first, draw_labelled(labels, np.arange(60), 5, 1.0, 0, names))
    assert not np.array_equal(first, draw_labelled(labels, np.arange(60), 5, 1.0, 1, names))
    without_a = draw_labelled(labels, np.arange(20, 60), 5, 1.0, 0, names)
    assert np.array_equal(without_a, first[first >= 20])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"labelled_share": 0.001},
            r"share=0.001 leaves class '0' empty \(10. training images\): ask for at least 0.00",
        ),
        ({"labelled_per_class": 500}, "labelled_per_class=500: class '0' has 10. training images; ask for fewer"),
        ({"labelled_per_class": 0}, "labelled_per_class=0: give at least one image"),
        ({"labelled_share": -1}, "labelled_share=-1: give a share"),
        ({"labelled_share": 1.5}, "labelled_share=1.5: give a share"),
        ({"labelled_share": 0.0}, "labelled_share=0.0: give a share"),
        ({"labelled_share": 0.5, "labelled_per_class": 2}, "both data.labelled_per_class and data.labelled_share"),
    ],
)
def test_what_is_not_possible(keys, words) -> None:
    with pytest.raises(UserError, match=words):
        ready(**keys)


def test_unseen_classes_stay_unseen() -> None:
    data = ImageData(split=ClassDisjointSplit(val=2, test=2), labelled_per_class=2)
    data.setup("fit")
    assert len(data.parts.train) == 12
    assert data.parts.class_disjoint


def test_the_old_keys_are_told_in_one_line_with_the_new_ones() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ImageData, "data")
    for key, new in (("labelled", "data.labelled_per_class"), ("augmentation", "data.transform")):
        for words in (["--data", json.dumps({key: None})], [f"--data.{key}", "1"]):
            with pytest.raises(ArgumentError) as told:
                parser.parse_args(words)
            line = one_line(str(told.value))
            assert line.startswith(f"data.{key} is now {new}")
