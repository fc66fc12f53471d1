"""Splits that follow what is given: the source's own parts, or one fold of several."""

from typing import Literal

import numpy as np

from dml.data.catalog import Catalog
from dml.data.splits.draw import Indices, deal_folds, draw_groups, draw_stratified, resolve_size
from dml.data.splits.splits import Parts, Split, StratifiedSplit, make_parts
from dml.errors import UserError


class OfficialSplit(Split):
    """Keep the parts that the source comes with; carve val from train where it has none.

    If the test part holds other classes than train, val is carved by whole classes as well, else stratified. Images
    about which the source says nothing are for training.

    Args:
        val: fraction (float below 1) or count (int) of training samples, or classes where classes are kept apart.
        seed: chooses val; None follows the datamodule's seed.

    Example:
        >>> from dml.data import Digits
        >>> OfficialSplit().assign(Digits().open(), seed=0)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: the source has no split of its own: use StratifiedSplit or another one in data.split
    """

    def __init__(self, val: int | float = 0.1, seed: int | None = None) -> None:
        self.val = val
        self.seed = seed

    def assign(self, catalog: Catalog, seed: int) -> Parts:
        """Read the parts; draw what is missing."""
        if not catalog.parts:
            raise UserError("the source has no split of its own: use StratifiedSplit or another one in data.split")
        part = np.array(catalog.parts)
        train, val, test = (np.flatnonzero(np.isin(part, names)) for names in (["train", ""], ["val"], ["test"]))
        if len(train) and not len(val):
            train, val = self._carve(catalog.labels, train, test, np.random.default_rng(seed))
        return make_parts(catalog.labels, train, val, test)

    def _carve(
        self, labels: Indices, train: Indices, test: Indices, rng: np.random.Generator
    ) -> tuple[Indices, Indices]:
        if len(test) and not np.isin(labels[test], labels[train]).any():
            known = np.where(np.isin(labels, labels[train]), labels, labels[train[0]])  # counts training classes alone
            return draw_groups(known, train, self.val, "val", "training classes", rng)
        return draw_stratified(labels, train, resolve_size(self.val, len(train), "val"), rng)


class DefaultSplit(Split):
    """The split used if none is named: `OfficialSplit` if the source has parts, else `StratifiedSplit`.

    Args:
        val: fraction (float below 1) or count (int) of samples; None: that split's own default.
        test: likewise; a source with parts has its own test part.
        seed: chooses the split; None follows the datamodule's seed.

    Example:
        >>> from dml.data import Digits
        >>> parts = DefaultSplit(val=0.1).assign(Digits().open(), seed=0)
        >>> len(parts.train), len(parts.val), len(parts.test)
        (1258, 180, 359)
    """

    def __init__(
        self, val: int | float | None = None, test: int | float | None = None, seed: int | None = None
    ) -> None:
        self.val = val
        self.test = test
        self.seed = seed

    def assign(self, catalog: Catalog, seed: int) -> Parts:
        """Hand the sizes on to the split of this source."""
        if not catalog.parts:
            val, test = (0.2 if size is None else size for size in (self.val, self.test))
            return StratifiedSplit(val, test).assign(catalog, seed)
        if self.test is not None:
            raise UserError("the source has a test part of its own: leave data.split.test out, or name another split")
        return (OfficialSplit() if self.val is None else OfficialSplit(self.val)).assign(catalog, seed)


class FoldSplit(Split):
    """One of k folds validates, the others train; over all folds every sample validates once.

    Args:
        folds: number of folds, at least 2.
        fold: which one validates, 0..folds-1.
        by: what is dealt: samples (stratified by class), whole classes, or whole groups.
        test: fraction or count, of what is dealt, kept out of all folds; the same test part for every fold. A source's
            own test part stays test in any case.
        seed: chooses the folds; None follows the datamodule's seed.

    Example:
        >>> from dml.data import Digits
        >>> [len(FoldSplit(folds=4, fold=i).assign(Digits().open(), seed=0).val) for i in range(4)]
        [450, 449, 449, 449]
    """

    def __init__(
        self,
        folds: int = 5,
        fold: int = 0,
        by: Literal["samples", "classes", "groups"] = "samples",
        test: int | float = 0,
        seed: int | None = None,
    ) -> None:
        self.folds = folds
        self.fold = fold
        self.by = by
        self.test = test
        self.seed = seed

    def assign(self, catalog: Catalog, seed: int) -> Parts:
        """Deal everything but the test part to the folds."""
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise UserError(f"fold {self.fold} of {self.folds}: give at least 2 folds and a fold within 0..folds-1")
        rng = np.random.default_rng(seed)
        own = np.isin(np.array(catalog.parts), ["test"]) if catalog.parts else np.zeros(len(catalog), dtype=bool)
        rest, test = np.flatnonzero(~own), np.flatnonzero(own)
        if self.by == "samples":
            rest, drawn = draw_stratified(catalog.labels, rest, resolve_size(self.test, len(rest), "test"), rng)
            if len(rest) < self.folds:
                raise UserError(f"{self.folds} folds of {len(rest)} samples: lower folds")
            fold = deal_folds(catalog.labels[rest], self.folds, rng)
        else:
            keys = catalog.labels if self.by == "classes" else catalog.groups
            if keys is None:
                raise UserError("the source tells no groups: use a manifest with a column group, or by: samples")
            rest, drawn = draw_groups(keys, rest, self.test, "test", self.by, rng)
            fold = self._deal_whole(keys[rest], rng)
        val = fold == self.fold
        return make_parts(catalog.labels, rest[~val], rest[val], np.concatenate([test, drawn]))

    def _deal_whole(self, keys: Indices, rng: np.random.Generator) -> Indices:
        present, key = np.unique(keys, return_inverse=True)
        if len(present) < self.folds:
            raise UserError(f"{self.folds} folds of {len(present)} {self.by}: lower folds")
        fold: Indices = deal_folds(np.zeros(len(present), dtype=np.int64), self.folds, rng)[key.reshape(-1)]
        return fold
