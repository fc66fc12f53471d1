"""Joins queries of one source with references of another into one catalog; classes with the same name are one class."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from dml.data.catalog import Catalog, Source, join
from dml.data.sources.detect import source_of_root
from dml.data.sources.files import open_tree
from dml.data.sources.omniglot import OmniglotRuns
from dml.errors import UserError


class QueriesAndReferences(Source):
    """All images of two catalogs as a test part: those of the first are queries, those of the second are searched.

    Args:
        queries: the queries.
        references: what is searched; None: the queries themselves, or what the first catalog marks as references.

    Raises:
        UserError: on `open`, if no query has a class of the references.

    Example:
        >>> from dml.data import Digits
        >>> digits = Digits().open()
        >>> both = QueriesAndReferences(digits, digits).open()
        >>> len(both), int(both.is_query.sum()), len(both.class_names)
        (3594, 1797, 10)
    """

    def __init__(self, queries: Catalog, references: Catalog | None) -> None:
        self.queries = queries
        self.references = references

    def open(self) -> Catalog:
        """Join both."""
        queries = replace(self.queries, parts=["test"] * len(self.queries))
        if self.references is None:
            return queries
        references = replace(
            self.references, parts=["test"] * len(self.references), channels=queries.channels, groups=None
        )
        there = {references.class_names[label] for label in np.unique(references.labels)}
        if not there & {queries.class_names[label] for label in np.unique(queries.labels)}:
            names = queries.class_names[queries.labels[0]], references.class_names[references.labels[0]]
            told = f"'{names[0]}' there, '{names[1]}' here"
            raise UserError(f"queries and references have no class name in common ({told}): rename the class folders")
        both = join(replace(queries, groups=None), references)
        asks = np.arange(len(both)) < len(queries)
        return replace(both, is_query=asks, is_reference=~asks)


def open_images(root: str, option: str) -> Catalog:
    """List the labelled images of a folder, zip, table or archive; a folder of Omniglot's one-shot runs as such.

    Args:
        root: where they lie.
        option: what it was given in, for the message if there is no such place.

    Raises:
        UserError: there is no such place, or it is not laid out as expected.

    Example:
        >>> open_images("no/such/place", "--queries")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or file 'no/such/place': give an existing one in --queries
    """
    source = source_of_root(root, option)
    if root.lower().endswith((".csv", ".parquet", ".npz")):
        return source.open()
    if any(PurePosixPath(name).name == "class_labels.txt" for name in open_tree(root).names()):
        return OmniglotRuns(root).open()
    return source.open()
