import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dml.data import Catalog, ClassDisjointSplit, FoldSplit, GroupedSplit, OfficialSplit, StratifiedSplit
from dml.data.catalog import ArrayReader
from dml.data.splits.draw import stratified_counts
from dml.data.splits.splits import Parts, Split, split_hash
from dml.errors import UserError


def catalogue(labels, groups=None, parts=()) -> Catalog:
    labels = np.asarray(labels, dtype=np.int64)
    return Catalog(
        labels=labels,
        class_names=[f"c{i}" for i in range(labels.max() + 1)],
        names=[f"n{i}" for i in range(len(labels))],
        reader=ArrayReader(np.zeros((len(labels), 2, 2), np.uint8)),
        groups=None if groups is None else np.asarray(groups),
        parts=list(parts),
    )


TWELVE = catalogue(np.repeat(np.arange(12), 20), groups=np.arange(240) // 5)


def check_whole(parts: Parts, count: int) -> None:
    together = np.concatenate([parts.train, parts.val, parts.test])
    assert sorted(together) == list(range(count))
    for part in (parts.train, parts.val, parts.test):
        assert (np.diff(part) > 0).all()


@pytest.mark.parametrize(
    "split",
    [
        StratifiedSplit(val=0.25, test=24),
        ClassDisjointSplit(val=2, test=0.25),
        GroupedSplit(val=0.2, test=5),
        FoldSplit(folds=4, fold=1),
        FoldSplit(folds=4, fold=1, by="classes", test=3),
        FoldSplit(folds=4, fold=1, by="groups", test=0.1),
    ],
)
def test_every_sample_has_one_part_and_the_seed_decides(split: Split) -> None:
    parts = split.assign(TWELVE, seed=0)
    check_whole(parts, 240)
    assert split_hash(TWELVE, parts) == split_hash(TWELVE, split.assign(TWELVE, seed=0))
    assert split_hash(TWELVE, parts) != split_hash(TWELVE, split.assign(TWELVE, seed=1))


def test_stratified_keeps_proportions() -> None:
    samples = catalogue([0] * 100 + [1] * 50 + [2] * 10)
    parts = StratifiedSplit(val=0.2, test=0.1).assign(samples, seed=0)
    assert np.bincount(samples.labels[parts.test]).tolist() == [10, 5, 1]
    assert np.bincount(samples.labels[parts.val]).tolist() == [20, 10, 2]
    assert not parts.class_disjoint


@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(0, 100))
def test_stratified_counts_add_up_and_empty_no_class(sizes: list[int], total: int) -> None:
    sizes_ = np.array(sizes)
    if total > (sizes_ - 1).sum():
        with pytest.raises(UserError, match="draw at most"):
            stratified_counts(sizes_, total)
        return
    counts = stratified_counts(sizes_, total)
    assert counts.sum() == total
    assert (counts >= 0).all()
    assert (counts < sizes_).all()


def test_a_class_with_one_image_always_trains() -> None:
    samples = catalogue([0] * 10 + [1] * 10 + [2])
    for seed in range(5):
        parts = StratifiedSplit(val=5, test=5).assign(samples, seed)
        assert 20 in parts.train


def test_class_disjoint_shares_no_class() -> None:
    parts = ClassDisjointSplit(val=3, test=0.25).assign(TWELVE, seed=0)
    classes = [set(TWELVE.labels[part]) for part in (parts.train, parts.val, parts.test)]
    assert [len(part) for part in classes] == [6, 3, 3]
    assert len(set.union(*classes)) == sum(map(len, classes))
    assert parts.class_disjoint


def test_grouped_shares_no_group() -> None:
    parts = GroupedSplit(val=0.2, test=0.2).assign(TWELVE, seed=0)
    groups = [set(TWELVE.groups[part]) for part in (parts.train, parts.val, parts.test)]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert not parts.class_disjoint


@pytest.mark.parametrize("by", ["samples", "classes", "groups"])
def test_folds_validate_every_sample_once(by) -> None:
    folds = [FoldSplit(folds=5, fold=i, by=by, test=2 if by != "samples" else 40).assign(TWELVE, 0) for i in range(5)]
    tests = {tuple(parts.test) for parts in folds}
    assert len(tests) == 1
    together = np.concatenate([parts.val for parts in folds] + [folds[0].test])
    assert sorted(together) == list(range(240))
    if by == "classes":
        assert all(parts.class_disjoint for parts in folds)
    if by == "samples":
        counts = [np.bincount(TWELVE.labels[parts.val], minlength=12) for parts in folds]
        assert np.ptp(np.stack(counts), axis=0).max() <= 1


def test_official_split_carves_val_from_train() -> None:
    closed = catalogue(np.arange(40) % 4, parts=["train"] * 30 + ["test"] * 8 + [""] * 2)
    parts = OfficialSplit(val=8).assign(closed, seed=0)
    check_whole(parts, 40)
    assert parts.test.tolist() == list(range(30, 38))
    assert np.bincount(closed.labels[parts.val]).tolist() == [2, 2, 2, 2]
    given_val = catalogue(np.arange(12) % 3, parts=["train", "val", "test"] * 4)
    assert OfficialSplit().assign(given_val, seed=0).val.tolist() == [1, 4, 7, 10]


def test_official_split_of_unseen_classes_carves_classes() -> None:
    labels = np.repeat(np.arange(10), 4)
    parts = OfficialSplit(val=0.2).assign(catalogue(labels, parts=["train"] * 20 + ["test"] * 20), seed=0)
    assert parts.class_disjoint
    assert len(np.unique(labels[parts.val])) == 1  # a fifth of five
    assert not np.isin(labels[parts.val], labels[parts.train]).any()


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (StratifiedSplit(val=240), "val=240 of 240 samples: give a fraction below 1 or a count below 240"),
        (StratifiedSplit(val=1.5), "val=1.5"),
        (StratifiedSplit(test=-1), "test=-1"),
        (StratifiedSplit(val=130, test=110), "draw at most"),
        (ClassDisjointSplit(val=0.5, test=0.5), "ask for less"),
        (ClassDisjointSplit(val=6, test=5), "fewer than two classes"),
        (FoldSplit(folds=5, fold=5), "fold 5 of 5"),
        (FoldSplit(folds=20, by="classes"), "20 folds of 12 classes: lower folds"),
        (OfficialSplit(), "no split of its own"),
    ],
)
def test_impossible_sizes_are_refused(split: Split, words: str) -> None:
    with pytest.raises(UserError, match=words):
        split.assign(TWELVE, seed=0)


def test_hash_names_the_images_not_their_place() -> None:
    parts = StratifiedSplit().assign(TWELVE, seed=0)
    renamed = catalogue(TWELVE.labels)
    renamed.names[int(parts.train[0])] = "other"
    assert split_hash(TWELVE, parts) != split_hash(renamed, parts)
