"""Cross-validation: one run for each fold of the classes, and the means of their scores."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from scipy.stats import t

from dml import runs
from dml.errors import UserError
from dml.experiments.jobs import JobError, Start, run_fit

RECORD = "folds.json"


class FoldMean(NamedTuple):
    """Mean of a score over folds, and its interval."""

    mean: float
    low: float
    high: float


def fold_means(scores: Sequence[Mapping[str, float]], level: float = 0.95) -> dict[str, FoldMean]:
    """Return the mean of each score that all folds have, with Student's interval of k − 1 degrees of freedom.

    The folds' encoders share most of their training images, so their scores depend on one another and the interval is
    somewhat too narrow; no estimate of their variance is free of that.

    Args:
        scores: Of each of k ≥ 2 folds.
        level: Of the interval.

    Source: Bengio and Grandvalet, "No Unbiased Estimator of the Variance of K-Fold Cross-Validation" (2004).

    Example:
        >>> mean, low, high = fold_means([{"map_at_r": 0.4}, {"map_at_r": 0.6}, {"map_at_r": 0.5}])["map_at_r"]
        >>> round(mean, 2), round(low, 2), round(high, 2)
        (0.5, 0.25, 0.75)
    """
    count = len(scores)
    quantile = float(t.ppf(0.5 + level / 2, count - 1))
    names = [name for name in scores[0] if all(name in row for row in scores)]
    found = {}
    for name in names:
        values = np.array([row[name] for row in scores])
        mean, reach = float(values.mean()), quantile * float(values.std(ddof=1)) / math.sqrt(count)
        found[name] = FoldMean(mean, mean - reach, mean + reach)
    return found


def split_words(keys: Sequence[str], folds: int, fold: int) -> list[str]:
    """Return a recipe's command-line words for one fold of the classes, which is used for validation.

    Args:
        keys: `--KEY VALUE`; of the split, `test`, `by` and `seed` may be among them.
        folds: k.
        fold: Which one validates, from 0 on.

    Raises:
        UserError: The keys name a split.

    Example:
        >>> split_words(["--data.split.test", "0.2"], 4, 0)[-3:]
        ['--data.split.by=classes', '--data.split.test', '0.2']
    """
    named = {key.partition("=")[0] for key in keys}
    own = {f"--data.split{name}" for name in ("", ".class_path", ".folds", ".fold", ".val")}
    if clash := sorted(named & own):
        raise UserError(
            f"--folds deals the classes itself: leave {clash[0]} out (data.split.test, by and seed may stay)"
        )
    split = {"folds": folds, "fold": fold, "by": "classes"}
    return ["--data.split=dml.data.FoldSplit", *(f"--data.split.{key}={value}" for key, value in split.items()), *keys]


@final
class Folds:
    """The runs of one folder, `fold_0` to `fold_{k−1}`, and `folds.json`; a run that has ended is not run again.

    Args:
        folder: `runs/NAME`.
        folds: k ≥ 2; None: as recorded.
        words: The recipe, `--config FILE` and `--KEY VALUE` but for the split's own; None: as recorded.

    Raises:
        UserError: The folder holds other folds or another recipe, or none where none is given.
    """

    def __init__(self, folder: Path, folds: int | None = None, words: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.path = folder / RECORD
        if self.path.exists():
            self.content: dict[str, Any] = runs.read_json(self.path)
        elif folds is None or words is None:
            raise UserError(f"{folder} holds no {RECORD}: give a folder written by `dml fit --folds`")
        elif folder.exists() and any(file.name != runs.LOCK for file in folder.iterdir()):
            raise UserError(f"{folder} exists and holds no folds: choose another --name")
        else:
            self.content = {"folds": folds, "words": list(words), "runs": {}}
        given = (folds, None if words is None else list(words))
        known = self.content["folds"], self.content["words"]
        if any(one is not None and one != other for one, other in zip(given, known, strict=True)):
            raise UserError(f"{folder} holds other folds or another recipe: choose another --name")

    @property
    def folders(self) -> list[Path]:
        """The folder of each fold's run."""
        return [self.folder / f"fold_{fold}" for fold in range(self.content["folds"])]

    def left(self) -> list[int]:
        """Return the folds that have not ended."""
        return [fold for fold, run in enumerate(self.folders) if run.name not in self.content["runs"]]

    def run_fold(self, fold: int, start: Start) -> None:
        """Train one fold, from its last checkpoint where it has one, and record its validation scores.

        Raises:
            UserError: The training failed.
        """
        run, log = self.folders[fold], self.folder / "logs" / f"fold_{fold}.txt"
        words = self.content["words"]
        try:
            run_fit(run, split_words(words, self.content["folds"], fold), log, start)
        except JobError as error:
            raise UserError(f"fold {fold} failed: {error} (log: {log})") from error
        self.content["runs"][run.name] = {"val": runs.read_scores(run / runs.SCORES)["val"]}
        self.write()

    def scores(self, split: str) -> list[dict[str, float]]:
        """Return the recorded scores of every fold."""
        return [self.content["runs"][run.name][split] for run in self.folders]

    def write(self) -> None:
        """Write the record, with the means of whatever all folds have."""
        for split in ("val", "test"):
            rows = [self.content["runs"].get(run.name, {}).get(split) for run in self.folders]
            if all(rows):
                means = {name: mean._asdict() for name, mean in fold_means(rows).items()}
                self.content |= {f"{split}_means": means}
        runs.write_json(self.path, self.content)
