"""Divides images into training, validation and test."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dml.data.catalog import Catalog
from dml.data.splits.draw import Indices, draw_groups, draw_stratified, resolve_size
from dml.data.texts import texts_at
from dml.errors import UserError

_TOGETHER = 65_536  # names hashed at once


@dataclass(frozen=True)
class Parts:
    """Positions of the samples of each part, ascending.

    Attributes:
        train: what the model learns from.
        val: carved from train; chooses epochs and settings.
        test: read at the very end only.
        class_disjoint: whether val and test hold no class that train has.
    """

    train: Indices
    val: Indices
    test: Indices
    class_disjoint: bool = False


def make_parts(labels: Indices, train: Indices, val: Indices, test: Indices) -> Parts:
    """Sort the parts and tell whether they share classes.

    Example:
        >>> make_parts(np.array([0, 0, 1]), train=np.array([1, 0]), val=np.array([2]), test=np.array([], int))
        Parts(train=array([0, 1]), val=array([2]), test=array([], dtype=int64), class_disjoint=True)
    """
    held_back = np.concatenate([val, test])
    disjoint = len(held_back) > 0 and not np.isin(labels[held_back], labels[train]).any()
    return Parts(np.sort(train), np.sort(val), np.sort(test), bool(disjoint))


class Split(ABC):
    """Divides the samples of a source into train, val and test.

    Attributes:
        seed: chooses the split; None follows the datamodule's seed.
    """

    seed: int | None

    @abstractmethod
    def assign(self, catalog: Catalog, seed: int) -> Parts:
        """Deal the samples.

        Args:
            catalog: what the source holds.
            seed: what to draw with; whoever calls has put `self.seed` in its place where that is set.

        Raises:
            UserError: the sizes asked for are not possible.
        """


def split_hash(catalog: Catalog, parts: Parts) -> str:
    """Name a split: the hash of every image's name, class and part; 16 hexadecimal digits, equal on every machine."""
    digest = hashlib.sha256()
    for part in ("train", "val", "test"):
        digest.update(f"[{part}]\n".encode())
        places = getattr(parts, part)
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            classes = (catalog.class_names[label] for label in catalog.labels[some].tolist())
            lines = [f"{name}\t{own}\n" for name, own in zip(texts_at(catalog.names, some), classes, strict=True)]
            digest.update("".join(lines).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def queries_and_references(catalog: Catalog, train: Indices, part: Indices) -> tuple[Indices, Indices]:
    """Tell which images of a held-back part ask, and which images they are searched among.

    Marks of the source (is_query, is_reference) within the part go first. Else the whole part asks, and the training
    images are searched where they share a class with it; where they share none, or both sides are the same images,
    there are no references: queries are searched among themselves.

    Returns:
        positions of queries and of references, the latter empty for a search among the queries.
    """

    def marked(marks: NDArray[np.bool_] | None, otherwise: Indices) -> Indices:
        return otherwise if marks is None or not marks[part].any() else part[marks[part]]

    shared = np.isin(catalog.labels[part], catalog.labels[train]).any()
    queries = marked(catalog.is_query, part)
    references = marked(catalog.is_reference, train if shared else part[:0])
    return queries, part[:0] if np.array_equal(queries, references) else references


class StratifiedSplit(Split):
    """Deal each class in the same proportion: train, val and test share their classes (closed set).

    Test is drawn first, so it depends on `test` and the seed alone; val is then carved from what is left.

    Args:
        val: fraction of all samples (float below 1) or count (int).
        test: likewise.
        seed: chooses the split; None follows the datamodule's seed.

    Example:
        >>> from dml.data import Digits
        >>> parts = StratifiedSplit(val=120, test=0.2).assign(Digits().open(), seed=0)
        >>> len(parts.train), len(parts.val), len(parts.test)
        (1318, 120, 359)
    """

    def __init__(self, val: int | float = 0.2, test: int | float = 0.2, seed: int | None = None) -> None:
        self.val = val
        self.test = test
        self.seed = seed

    def assign(self, catalog: Catalog, seed: int) -> Parts:
        """Deal the samples by class."""
        total = len(catalog)
        rng = np.random.default_rng(seed)
        sizes = resolve_size(self.test, total, "test"), resolve_size(self.val, total, "val")
        rest, test = draw_stratified(catalog.labels, np.arange(total), sizes[0], rng)
        train, val = draw_stratified(catalog.labels, rest, sizes[1], rng)
        return make_parts(catalog.labels, train, val, test)


class ClassDisjointSplit(Split):
    """Deal whole classes: val and test hold classes that training never sees.

    Args:
        val: fraction of all classes (float below 1) or number of classes (int).
        test: likewise; drawn first.
        seed: chooses the split; None follows the datamodule's seed.

    Example:
        >>> from dml.data import Digits
        >>> catalog = Digits().open()
        >>> parts = ClassDisjointSplit(val=2, test=0.3).assign(catalog, seed=0)
        >>> [len(np.unique(catalog.labels[part])) for part in (parts.train, parts.val, parts.test)]
        [5, 2, 3]
    """

    def __init__(self, val: int | float = 0.2, test: int | float = 0.2, seed: int | None = None) -> None:
        self.val = val
        self.test = test
        self.seed = seed

    def assign(self, catalog: Catalog, seed: int) -> Parts:
        """Deal the classes."""
        rng = np.random.default_rng(seed)
        everything = np.arange(len(catalog))
        rest, test = draw_groups(catalog.labels, everything, self.test, "test", "classes", rng)
        train, val = draw_groups(catalog.labels, rest, self.val, "val", "classes", rng)
        if len(np.unique(catalog.labels[train])) < 2:
            raise UserError("the class-disjoint split leaves fewer than two classes to train: ask for less val or test")
        return make_parts(catalog.labels, train, val, test)


class GroupedSplit(Split):
    """Deal whole groups (patients, products, alphabets), so that none is on two sides.

    Args:
        val: fraction of all groups (float below 1) or number of groups (int).
        test: likewise; drawn first.
        seed: chooses the split; None follows the datamodule's seed.

    Example:
        >>> from dml.data import Digits
        >>> GroupedSplit().assign(Digits().open(), seed=0)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: the source tells no groups: use a manifest with a column group, or another split
    """

    def __init__(self, val: int | float = 0.2, test: int | float = 0.2, seed: int | None = None) -> None:
        self.val = val
        self.test = test
        self.seed = seed

    def assign(self, catalog: Catalog, seed: int) -> Parts:
        """Deal the groups."""
        if catalog.groups is None:
            raise UserError("the source tells no groups: use a manifest with a column group, or another split")
        rng = np.random.default_rng(seed)
        everything = np.arange(len(catalog))
        rest, test = draw_groups(catalog.groups, everything, self.test, "test", "groups", rng)
        train, val = draw_groups(catalog.groups, rest, self.val, "val", "groups", rng)
        return make_parts(catalog.labels, train, val, test)
