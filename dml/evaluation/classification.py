"""Precision, recall and F1 of every class and their macro means, for any classifier and for votes with ties."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dml.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MACRO = ("macro_precision", "macro_recall", "macro_f1")


class ClassCounts(NamedTuple):
    """How often each class is there, is predicted, and both; parts of a sample count where a vote is level."""

    classes: Ints  # (C,) labels, ascending
    actual: Floats  # (C,)
    predicted: Floats  # (C,)
    correct: Floats  # (C,)

    def ascending(self) -> "ClassCounts":
        """Return the same, the classes by their labels."""
        order = np.argsort(self.classes)
        return ClassCounts(self.classes[order], self.actual[order], self.predicted[order], self.correct[order])


class ClassScores(NamedTuple):
    """Scores of each class, in [0, 1], and its number of samples."""

    classes: Ints  # (C,)
    precision: Floats  # (C,): correct / predicted
    recall: Floats  # (C,): correct / actual
    f1: Floats  # (C,): their harmonic mean, 2 · correct / (actual + predicted)
    support: Floats  # (C,)


def count_predictions(predicted: ArrayLike, labels: ArrayLike) -> ClassCounts:
    """Return the counts of the classes that are among the labels or the predictions.

    Args:
        predicted: Labels (N,) that a classifier gives, N ≥ 1.
        labels: The true ones (N,).

    Raises:
        UserError: The counts differ, or there are none.

    Example:
        >>> count_predictions([0, 0, 2], [0, 1, 1]).predicted
        array([2., 0., 1.])
    """
    guesses, truth = np.asarray(predicted), np.asarray(labels)
    if guesses.ndim != 1 or guesses.shape != truth.shape or not truth.size:
        raise UserError(f"{guesses.shape} predictions for {truth.shape} labels: give one each, of one sample at least")
    classes, codes = np.unique(np.concatenate([guesses, truth]), return_inverse=True)
    taken, own = codes[: len(guesses)], codes[len(guesses) :]
    counts = (np.bincount(part, minlength=len(classes)).astype(np.float64) for part in (own, taken, own[own == taken]))
    return ClassCounts(classes.astype(np.int64), *counts)


def precision_recall_f1(counts: ClassCounts) -> ClassScores:
    """Return precision, recall and F1 of each class.

    As scikit-learn's `precision_recall_fscore_support` with `zero_division=0`: a class that is never predicted has
    precision 0, one that is predicted but never there recall 0, and F1 is 0 where either is. A class that is neither
    has no row; every row counts alike in the macro means.

    Example:
        >>> precision_recall_f1(count_predictions([0, 0, 2], [0, 1, 1])).f1.round(3)
        array([0.667, 0.   , 0.   ])
    """
    there = (counts.actual > 0) | (counts.predicted > 0)
    actual, predicted, correct = counts.actual[there], counts.predicted[there], counts.correct[there]
    return ClassScores(
        counts.classes[there],
        _share(correct, predicted),
        _share(correct, actual),
        _share(2 * correct, actual + predicted),
        actual,
    )


def macro_scores(counts: ClassCounts) -> dict[str, float]:
    """Return `macro_precision`, `macro_recall` and `macro_f1`: the means over classes, each class counting alike.

    Example:
        >>> macro_scores(count_predictions([0, 1, 1], [0, 1, 1]))["macro_f1"]
        1.0
    """
    found = precision_recall_f1(counts)
    return dict(zip(MACRO, (float(column.mean()) for column in found[1:4]), strict=True))


def class_record(counts: ClassCounts, class_names: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """Return the scores of each class by its name, as a run's per-class record holds them.

    Args:
        counts: Of all classes.
        class_names: By label; empty: a class is named by its number.

    Example:
        >>> class_record(count_predictions([0, 1], [0, 1]), ["ash", "birch"])["birch"]
        {'precision': 1.0, 'recall': 1.0, 'f1': 1.0, 'support': 1.0}
    """
    found = precision_recall_f1(counts)
    named = len(class_names) > int(found.classes.max(initial=-1)) and int(found.classes.min(initial=0)) >= 0
    names = [class_names[label] if named else str(label) for label in found.classes.tolist()]
    rows = zip(*(column.tolist() for column in found[1:]), strict=True)
    return {name: dict(zip(ClassScores._fields[1:], row, strict=True)) for name, row in zip(names, rows, strict=True)}


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
