"""Omniglot in its original layouts: alphabets of characters, and the official one-shot runs."""

from pathlib import PurePosixPath

import numpy as np

from dml.data.catalog import Catalog, Part, Source, index_labels, join
from dml.data.sources.bounds import damage_told
from dml.data.sources.files import Tree, open_tree
from dml.errors import UserError


class Omniglot(Source):
    """Handwritten characters: `images_background`, `images_evaluation`, `images_background_small1` or `small2`.

    A class is one character of one alphabet (`Greek/character07`), 20 drawings each, 105×105, black ink on white. An
    alphabet is a group, so a grouped split keeps whole alphabets apart.

    Args:
        root: the unpacked folder or the original zip; ALPHABET/characterNN/IMAGE.png below it, however deep.
        test: another such folder or zip whose alphabets are the test part of the source's own, class-disjoint split.

    Source: B. Lake, R. Salakhutdinov, J. Tenenbaum, "Human-level concept learning through probabilistic program
        induction", Science, 2015.

    Raises:
        UserError: on `open`, where no character folder is found, or one in both root and test.

    Example:
        >>> Omniglot("no/such.zip").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or zip 'no/such.zip': give an existing one, for example in data.root
    """

    def __init__(self, root: str, test: str | None = None) -> None:
        self.root = root
        self.test = test

    def open(self) -> Catalog:
        """List the characters of all alphabets."""
        train = open_characters(self.root, "train" if self.test else "")
        if self.test is None:
            return train
        test = open_characters(self.test, "test")
        if clash := set(train.class_names) & set(test.class_names):
            raise UserError(
                f"'{min(clash)}' is in both '{self.root}' and '{self.test}': test characters must be unseen"
            )
        return join(train, test)


def open_characters(root: str, part: Part) -> Catalog:
    """List the characters below one root."""
    tree = open_tree(root)
    names = [name for name in tree.images() if PurePosixPath(name).parent.name.startswith("character")]
    names = [name for name in names if len(PurePosixPath(name).parts) > 2]
    if not names:
        raise UserError(f"no characters below '{root}': expected ALPHABET/characterNN/IMAGE.png there")
    keys = ["/".join(PurePosixPath(name).parts[-3:-1]) for name in names]
    labels, class_names = index_labels(keys)
    alphabets = [key.split("/")[0] for key in keys]
    return Catalog(
        labels=labels,
        class_names=class_names,
        names=[f"{key}/{PurePosixPath(name).name}" for key, name in zip(keys, names, strict=True)],
        reader=tree.reader(names),
        channels=1,
        fingerprint=tree.fingerprint(names),
        parts=[part] * len(names) if part else [],
        groups=np.unique(alphabets, return_inverse=True)[1].reshape(-1).astype(np.int64),
    )


class OmniglotRuns(Source):
    """The official one-shot runs: 20 runs of 20 drawings to be recognised among 20 others, all of one alphabet each.

    A class is one character of one run (`run03/class11`) and a run is a group; within it each test item is a query
    and each training item a reference, compared within its run alone (`evaluation.groups` is `same` where the recipe
    says nothing): the error is one less `test/recall_at_1`. All images are the test part: there is nothing to train on.

    Args:
        root: the folder or zip that holds `runNN/training/*.png`, `runNN/test/*.png` and `runNN/class_labels.txt`,
            whose lines name a test item and the training item of the same class.

    Source: see `Omniglot`.

    Raises:
        UserError: on `open`, where there is no run or a run is incomplete.

    Example:
        >>> OmniglotRuns("no/such.zip").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or zip 'no/such.zip': give an existing one, for example in data.root
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def open(self) -> Catalog:
        """Read the label files and list the items of all runs."""
        tree = open_tree(self.root)
        files = tree.names()
        tables = [name for name in files if PurePosixPath(name).name == "class_labels.txt"]
        if not tables:
            raise UserError(f"no run below '{self.root}': expected runNN/class_labels.txt there")
        with damage_told(f"a class_labels.txt below '{self.root}'", "unpack the runs again"):
            items = [item for table in tables for item in read_run(tree, table, set(files))]
        labels, class_names = index_labels([key for _, key, _ in items])
        names = [name for name, _, _ in items]
        query = np.array([is_query for _, _, is_query in items])
        runs = [key.split("/")[0] for _, key, _ in items]
        return Catalog(
            labels=labels,
            class_names=class_names,
            names=names,
            reader=tree.reader(names),
            channels=1,
            fingerprint=tree.fingerprint(names),
            parts=["test"] * len(names),
            groups=np.unique(runs, return_inverse=True)[1].reshape(-1).astype(np.int64),
            is_query=query,
            is_reference=~query,
            group_rule="same",
        )


def read_run(tree: Tree, table: str, files: set[str]) -> list[tuple[str, str, bool]]:
    """Read one run's label file: (file, class, whether it is a query), references first."""
    above = PurePosixPath(table).parent.parent
    items: dict[str, tuple[str, bool]] = {}
    for line in tree.read(table).decode().split("\n"):
        if not line.strip():
            continue
        pair = [(above / name).as_posix() for name in line.split()]
        if len(pair) != 2 or not set(pair) <= files:
            raise UserError(f"'{table}' in '{tree.root}': line '{line.strip()}' does not name two files of the run")
        query, reference = pair
        key = f"{PurePosixPath(table).parent.name}/{PurePosixPath(reference).stem}"
        items[reference], items[query] = (key, False), (key, True)
    return sorted(((name, key, is_query) for name, (key, is_query) in items.items()), key=lambda item: item[2])
