"""Reads the files of embeddings that `dml evaluate` is given: archives of `dml predict`, or tables with labels."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dml import runs
from dml.errors import UserError

if TYPE_CHECKING:  # importing it loads NumPy, which --help must not
    from dml.embeddings import EmbeddingSet


def read_sets(options: argparse.Namespace) -> "tuple[EmbeddingSet, EmbeddingSet]":
    """Read queries and references; without references the queries search each other.

    Args:
        options: `embeddings`, `labels`, `reference_embeddings` and `reference_labels` of `dml evaluate`.

    Raises:
        UserError: A file cannot be read, or labels are missing or do not fit.
    """
    import numpy as np

    from dml.embeddings import EmbeddingSet

    if options.reference_embeddings is None and options.reference_labels is not None:
        raise UserError("--reference_labels without --reference_embeddings: give both or neither")
    query = _read_set(options.embeddings, options.labels, "embeddings", "labels")
    if options.reference_embeddings is None:
        return query, query
    named = "reference_embeddings", "reference_labels"
    reference = match_classes(query, _read_set(options.reference_embeddings, options.reference_labels, *named))
    strangers = -1 - np.arange(len(reference))  # no sample is in both files
    names = reference.class_names
    return query, EmbeddingSet(reference.embeddings, reference.labels, strangers, class_names=names, what="reference")


def match_classes(query: "EmbeddingSet", reference: "EmbeddingSet") -> "EmbeddingSet":
    """Return the references with the queries' numbers for their classes, matched by name.

    Args:
        query: The queries.
        reference: The references; classes that no query has get numbers of their own.

    Raises:
        UserError: The classes of one have names, those of the other only numbers.

    Example:
        >>> from dml.embeddings import EmbeddingSet
        >>> query = EmbeddingSet([[0.0]], [0], class_names=["rose"])
        >>> match_classes(query, EmbeddingSet([[0.0], [1.0]], [0, 1], class_names=["iris", "rose"])).labels
        array([1, 0])
    """
    import numpy as np

    from dml.embeddings import EmbeddingSet

    if bool(query.class_names) != bool(reference.class_names):
        told = "give two archives of `dml predict`, or --labels and --reference_labels for both"
        raise UserError(f"only one of the two files names its classes: {told}")
    names = [*query.class_names, *sorted({*reference.class_names} - {*query.class_names})]
    number = {name: at for at, name in enumerate(names)}
    numbers = np.array([number[name] for name in reference.class_names], dtype=np.int64)
    labels = numbers[reference.labels] if names else reference.labels
    return EmbeddingSet(reference.embeddings, labels, reference.ids, reference.names, names, what="reference")


def _read_set(embeddings: str, labels: str | None, option: str, label_option: str) -> "EmbeddingSet":
    from dml.embeddings import EmbeddingSet

    table = embeddings.endswith(".parquet")
    if not (table or embeddings.endswith(".npz")):
        if labels is None:
            raise UserError(f"--{option} come without labels: give --{label_option} FILE")
        return EmbeddingSet(runs.read_array(Path(embeddings)), runs.read_array(Path(labels)))
    if table:
        from dml.search.parquet import read_parquet

        found = read_parquet(Path(embeddings))
    else:
        found = EmbeddingSet.load(Path(embeddings))
    if labels is not None:
        return EmbeddingSet(found.embeddings, runs.read_array(Path(labels)))
    if "" not in found.class_names:
        return found
    labelled = found.labels != list(found.class_names).index("")
    if not labelled.any():
        raise UserError(f"the images of {embeddings} have no labels: give --{label_option} FILE")
    if not labelled.all():
        print(f"dml: {(~labelled).sum()} images of {embeddings} have no label: left out", file=sys.stderr)
    return found.take(labelled)
