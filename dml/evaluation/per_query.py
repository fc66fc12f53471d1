"""The scores of single queries: their table, its file, and their means."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.errors import UserError
from dml.evaluation.classification import ClassCounts, macro_scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_FIELDS = ("labels", "ids", "num_lone_queries")


class QueryScores(NamedTuple):
    """Every score of every query that has a positive, in class order, and the number of lone queries left out."""

    scores: dict[str, Floats]  # each (Q,)
    labels: Ints  # (Q,)
    ids: Ints  # (Q,)
    num_lone_queries: int
    votes: ClassCounts | None = None  # of the first of `knn_ks` neighbours; `save` leaves it out
    images: str = ""  # a name of the queries' images, `LabelledData.name_of_all`; empty: not known

    def save(self, path: Path) -> None:
        """Write a NumPy archive, whole or not at all.

        Raises:
            UserError: The disk is full or the folder cannot be written.
        """
        own: dict[str, Any] = {"labels": self.labels, "ids": self.ids, "num_lone_queries": self.num_lone_queries}
        own |= {"images": self.images} if self.images else {}
        runs.write_arrays(path, {**self.scores, **own})

    @classmethod
    def load(cls, path: Path) -> "QueryScores":
        """Read what `save` wrote.

        Raises:
            UserError: There is no such file, or it holds something else.

        Example:
            >>> import tempfile
            >>> table = QueryScores({"map": np.array([0.5])}, np.array([3]), np.array([7]), 1)
            >>> file = Path(tempfile.mkdtemp()) / "queries_val.npz"
            >>> table.save(file)
            >>> QueryScores.load(file) == table
            True
        """
        arrays = runs.read_arrays(path)
        if missing := [name for name in _FIELDS if name not in arrays]:
            raise UserError(f"{path} holds no query scores ({missing[0]} is missing): write it with `dml evaluate`")
        labels, ids, lone = (arrays.pop(name) for name in _FIELDS)
        images = arrays.pop("images", np.array(""))
        columns = {"labels": labels, "ids": ids, **arrays}
        misfit = [
            name
            for name, rows in columns.items()
            if rows.shape != (ids.size,) or rows.dtype.kind not in "iuf" or not name.isidentifier()
        ]
        misfit += ["images"] * (images.shape != () or images.dtype.kind != "U")
        if misfit or lone.shape != () or lone.dtype.kind not in "iu":
            raise UserError(f"{path} holds no query scores ({misfit[:1]} does not fit): write it with `dml evaluate`")
        return cls(arrays, labels, ids, int(lone), images=str(images))


def mean_scores(table: QueryScores) -> dict[str, float]:
    """Return the mean of each score over the queries, summed exactly, macro scores, and the number of lone queries."""
    means = {name: math.fsum(values.tolist()) / len(values) for name, values in table.scores.items()}
    if table.votes is not None:
        means |= {f"knn_{name}": value for name, value in macro_scores(table.votes).items()}
    return means | {"num_lone_queries": float(table.num_lone_queries)}
