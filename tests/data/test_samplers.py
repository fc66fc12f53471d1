import itertools
import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.samplers import FixedSetOfTriplets, MPerClassSampler
from torch.utils.data import BatchSampler, RandomSampler, Sampler, SequentialSampler

from dml.data import ImageData, balanced_batches, random_batches
from dml.data.samplers.choose import training_batches
from dml.data.samplers.class_balanced import ClassBalancedBatches
from dml.data.samplers.ordered import OrderedBatches
from dml.data.samplers.random import RandomBatches
from dml.data.samplers.wrapped import WrappedSampler
from dml.errors import UserError


@given(st.integers(2, 200), st.integers(2, 60), st.integers(1, 4), st.integers(0, 3))
def test_random_batches_visit_every_sample_once(count: int, batch_size: int, ranks: int, epoch: int) -> None:
    if count < 2 * ranks:
        return
    rows = random_batches(count, batch_size, seed=1, epoch=epoch, ranks=ranks)
    assert sorted(np.concatenate(rows)) == list(range(count))
    assert min(len(row) for row in rows) >= min(2 * ranks, batch_size)
    assert max(len(row) for row in rows) <= batch_size + 2 * ranks - 1


def test_drop_last_keeps_full_batches_only() -> None:
    rows = random_batches(103, 10, seed=0, epoch=0, drop_last=True)
    assert [len(row) for row in rows] == [10] * 10


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 25), min_size=2, max_size=8),
    st.integers(2, 5),
    st.integers(2, 5),
    st.integers(0, 5),
)
def test_balanced_batches_cover_and_hold_their_promise(sizes: list[int], classes: int, each: int, epoch: int) -> None:
    classes = min(classes, len(sizes))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = balanced_batches(labels, classes, each, seed=2, epoch=epoch)
    assert set(np.concatenate(rows)) == set(range(len(labels)))
    portions = -(-np.array(sizes) // each)
    fewest = max(-(-portions.sum() // classes), portions.max())
    assert len(rows) == fewest
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


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("kind", ["balanced", "random", "wrapped"])
def test_processes_share_the_batches_of_one(kind: str, ranks: int) -> None:
    labels = np.repeat(np.arange(6), 9)

    def batches(rank: int, ranks: int):
        if kind == "balanced":
            found = ClassBalancedBatches(labels, 4, 3, seed=4, rank=rank, ranks=ranks)
        elif kind == "random":
            found = RandomBatches(len(labels), 20, seed=4, rank=rank, ranks=ranks)
        else:
            found = WrappedSampler(RandomSampler, labels, 20, False, seed=4, rank=rank, ranks=ranks)
        found.set_epoch(2)
        return found

    shares = [batches(rank, ranks) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    for get in ("rows", "addresses"):
        whole = getattr(batches(0, 1), get)()
        for step, row in enumerate(whole):
            dealt = [getattr(share, get)()[step] for share in shares]
            assert [dealt[i % ranks][i // ranks] for i in range(len(row))] == row.tolist()


def test_a_batch_too_small_for_its_processes_is_told() -> None:
    with pytest.raises(UserError, match="a batch of 4 images for 3 processes: at least two images each"):
        ClassBalancedBatches(np.repeat(np.arange(4), 6), 2, 2, seed=0, rank=0, ranks=3).rows()


def test_addresses_number_the_samples_of_an_epoch() -> None:
    batches = RandomBatches(10, batch_size=4, seed=0)
    assert [place.tolist() for place in batches.addresses()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(OrderedBatches(10, 3)) == 4


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
    batches = training_batches(np.repeat(np.arange(classes), 60), batch_size, "auto", drop_last=False, seed=0)
    assert isinstance(batches, ClassBalancedBatches)
    assert (batches.classes_per_batch, batches.images_per_class) == expected


@pytest.mark.parametrize("classes_per_batch", ["auto", 10])
def test_a_batch_larger_than_the_data_is_all_of_it_once(classes_per_batch: Any) -> None:
    labels = np.repeat(np.arange(10), 5)
    batches = training_batches(labels, 1_000_000_000, classes_per_batch, drop_last=False, seed=0)
    (row,) = batches.rows()
    assert sorted(row) == list(range(50))


def test_a_batch_of_one_image_is_refused() -> None:
    with pytest.raises(UserError, match="give at least 2"):
        training_batches(np.arange(4), 1, None, drop_last=False, seed=0)


LABELS = np.repeat(np.arange(8), 12)
M_PER_CLASS = partial(MPerClassSampler, m=4, batch_size=32, length_before_new_iter=320)


def wrapped(sampler, batch_size: int = 32, drop_last: bool = False, seed: int = 0, rank: int = 0, ranks: int = 1):
    return WrappedSampler(sampler, LABELS, batch_size, drop_last, seed, rank, ranks)


def epoch_of(batches: WrappedSampler, epoch: int) -> list[list[int]]:
    batches.set_epoch(epoch)
    return [row.tolist() for row in batches.rows()]


def test_batches_of_another_library_keep_their_promise() -> None:
    rows = epoch_of(wrapped(M_PER_CLASS, batch_size=7), 0)  # the sampler's own batch_size goes first
    assert [len(row) for row in rows] == [32] * 10
    for row in rows:
        assert np.unique(LABELS[row], return_counts=True)[1].tolist() == [4] * 8


@pytest.mark.parametrize("sampler", [M_PER_CLASS, RandomSampler, partial(FixedSetOfTriplets, num_triplets=40)])
def test_another_librarys_batches_are_a_function_of_seed_and_epoch(sampler) -> None:
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    unbroken, resumed = wrapped(sampler), wrapped(sampler)
    epochs = [epoch_of(unbroken, epoch) for epoch in range(3)]
    assert epoch_of(resumed, 2) == epochs[2]
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != epoch_of(wrapped(sampler, seed=1), 0)
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert state[2] == random.getstate()


def test_what_a_sampler_draws_once_stays_in_every_epoch() -> None:
    batches = wrapped(partial(FixedSetOfTriplets, num_triplets=40))
    first, second = (sorted(itertools.chain(*epoch_of(batches, epoch))) for epoch in (0, 1))
    assert first == second


def test_lists_of_positions_are_batches() -> None:
    batches = wrapped(lambda labels: BatchSampler(SequentialSampler(labels), 40, drop_last=True), batch_size=8)
    assert epoch_of(batches, 0) == [list(range(40)), list(range(40, 80))]


def test_what_is_left_over_of_single_positions() -> None:
    assert [len(row) for row in epoch_of(wrapped(RandomSampler, batch_size=19), 0)] == [19, 19, 19, 19, 20]
    assert [len(row) for row in epoch_of(wrapped(RandomSampler, batch_size=40), 0)] == [40, 40, 16]
    assert [len(row) for row in epoch_of(wrapped(RandomSampler, batch_size=40, drop_last=True), 0)] == [40, 40]


class Yields(Sampler):
    def __init__(self, labels, what) -> None:
        self.what = what

    def __iter__(self):
        return iter(self.what)


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (partial(MPerClassSampler, m=5, batch_size=32), "cannot be built for 96 training images: m_per_class must"),
        (partial(Yields, what=[]), "Yields yields no batch of 96 images"),
        (partial(Yields, what=[3, 96]), "position 96, and there are 96 training images"),
        (partial(Yields, what=[0.5, 1.0]), "not whole numbers"),
        (partial(Yields, what=["a", "b"]), "not whole numbers"),
        (partial(Yields, what=[[0, 1], []]), "not whole numbers"),
    ],
)
def test_samplers_that_do_not_fit_are_told_in_one_line(sampler, words: str) -> None:
    with pytest.raises(UserError, match=words) as told:
        wrapped(sampler).rows()
    assert "\n" not in str(told.value)


def test_a_sampler_beside_classes_per_batch_is_refused() -> None:
    data = ImageData(sampler=M_PER_CLASS, classes_per_batch=4)
    data.setup()
    with pytest.raises(UserError, match=r"set data\.classes_per_batch to null"):
        data.train_dataloader()


def test_the_datamodule_serves_the_batches_of_any_sampler() -> None:
    data = ImageData(sampler=M_PER_CLASS)
    data.setup()
    loader = data.train_dataloader()
    assert len(loader) == 10
    for batch in loader:
        assert batch.labels.bincount().tolist().count(4) == 8
    resumed = data.train_dataloader()
    resumed.load_state_dict({"epoch": 0, "position": 7})
    assert torch.equal(next(iter(resumed)).ids, [batch.ids for batch in loader][7])


def test_what_a_sampler_leaves_over_is_enough_for_every_process():
    labels = np.zeros(11, dtype=np.int64)
    for ranks, sizes in ((1, [4, 4, 3]), (2, [4, 7])):
        shares = [WrappedSampler(RandomSampler, labels, 4, False, 0, rank, ranks).rows() for rank in range(ranks)]
        assert [sum(len(share[at]) for share in shares) for at in range(len(sizes))] == sizes


def test_balanced_batches_of_one_class_are_refused_with_a_way_out():
    with pytest.raises(UserError, match=r"all of one class.*data\.classes_per_batch to null"):
        training_batches(np.zeros(11, dtype=np.int64), 8, "auto", False, 0)
