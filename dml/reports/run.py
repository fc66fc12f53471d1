"""The contents of a run's files, for its pages."""

from pathlib import Path
from typing import Any, NamedTuple

from dml.reports.events import Curve


class Run(NamedTuple):
    """The contents of a run's files; a run that has not ended lacks some of them.

    Example:
        >>> Run(Path("runs/first"), "", {}, {}, {}, {}).classes
        {}
    """

    folder: Path
    recipe: str
    protocol: dict[str, Any]
    scores: dict[str, Any]
    curves: dict[str, Curve]
    pictures: dict[str, bytes]  # PNG by name
    classes: dict[str, dict[str, dict[str, float]]] = {}  # scores by who predicts and class  # noqa: RUF012
