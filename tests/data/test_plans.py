import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dml.data.samplers.layouts import balanced_batches, random_batches
from dml.data.samplers.samplers import BalancedPlan, OrderedPlan, RandomPlan, training_plan
from dml.errors import UserError


@given(st.integers(2, 200), st.integers(2, 60), st.integers(1, 4), st.integers(0, 3))
def test_random_batches_visit_every_sample_once(count: int, batch_size: int, ranks: int, epoch: int) -> None:
    if count < 2 * ranks:
        return
    rows = random_batches(count, batch_size, seed=1, epoch=epoch, ranks=ranks)
    assert sorted(np.concatenate(rows)) == list(range(count))
    assert len(rows) % ranks == 0
    assert min(len(row) for row in rows) >= 2
    assert max(len(row) for row in rows) <= batch_size + 2


def test_drop_last_keeps_full_batches_only() -> None:
    rows = random_batches(103, 10, seed=0, epoch=0, drop_last=True)
    assert [len(row) for row in rows] == [10] * 10


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 25), min_size=2, max_size=8),
    st.integers(2, 5),
    st.integers(2, 5),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_balanced_batches_cover_and_hold_their_promise(
    sizes: list[int], classes: int, each: int, ranks: int, epoch: int
) -> None:
    classes = min(classes, len(sizes))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = balanced_batches(labels, classes, each, seed=2, epoch=epoch, ranks=ranks)
    assert set(np.concatenate(rows)) == set(range(len(labels)))
    portions = -(-np.array(sizes) // each)
    fewest = max(-(-portions.sum() // classes), portions.max())
    assert len(rows) == fewest + -fewest % ranks
    for row in rows:
        present, counts = np.unique(labels[row], return_counts=True)
        assert len(present) == classes
        assert (counts == each).all()
        for label in present:  # no image twice in a batch unless its class is too small
            members = row[labels[row] == label]
            assert len(np.unique(members)) == min(each, sizes[label])


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    labels = np.repeat(np.arange(5), 7)

    def flat(seed: int, epoch: int) -> list[int]:
        return np.concatenate(balanced_batches(labels, 3, 2, seed, epoch)).tolist()

    assert flat(0, 1) == flat(0, 1)
    assert len({tuple(flat(seed, epoch)) for seed, epoch in itertools.product(range(3), range(3))}) == 9


def test_ranks_are_dealt_the_rows_of_one_layout() -> None:
    labels = np.repeat(np.arange(6), 9)
    whole = balanced_batches(labels, 3, 3, seed=4, epoch=2, ranks=2)
    plans = [BalancedPlan(labels, 3, 3, seed=4, rank=rank, ranks=2) for rank in range(2)]
    for plan in plans:
        plan.set_epoch(2)
    dealt = [row.tolist() for pair in zip(*(plan.rows() for plan in plans), strict=True) for row in pair]
    assert dealt == [row.tolist() for row in whole]
    addresses = np.concatenate([np.concatenate(plan.addresses()) for plan in plans])
    assert sorted(addresses) == list(range(sum(map(len, whole))))  # no two ranks share noise


def test_addresses_number_the_samples_of_an_epoch() -> None:
    plan = RandomPlan(10, batch_size=4, seed=0)
    assert [place.tolist() for place in plan.addresses()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(OrderedPlan(10, 3)) == 4


@pytest.mark.parametrize(
    ("classes", "each", "words"),
    [(1, 4, "at least 2 classes"), (3, 1, "no positive"), (9, 2, "the training part has 5 classes; lower it")],
)
def test_impossible_settings_are_refused_with_the_mend(classes: int, each: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        balanced_batches(np.repeat(np.arange(5), 4), classes, each, seed=0, epoch=0)


def test_too_few_images_for_the_processes() -> None:
    with pytest.raises(UserError, match="at least two images each"):
        random_batches(3, 8, seed=0, epoch=0, ranks=2)


@pytest.mark.parametrize(
    ("classes", "batch_size", "expected"),
    [(2, 120, (2, 60)), (10, 120, (10, 12)), (17, 120, (17, 7)), (99, 120, (30, 4))],
)
def test_auto_takes_all_classes_that_fit(classes: int, batch_size: int, expected: tuple[int, int]) -> None:
    plan = training_plan(np.repeat(np.arange(classes), 5), batch_size, "auto", drop_last=False, seed=0)
    assert isinstance(plan, BalancedPlan)
    assert (plan.classes_per_batch, plan.images_per_class) == expected


def test_a_batch_of_one_image_is_refused() -> None:
    with pytest.raises(UserError, match="give at least 2"):
        training_plan(np.arange(4), 1, None, drop_last=False, seed=0)
