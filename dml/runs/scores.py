"""The one writer of `scores.json`: sections of scores, baselines, and the intervals of the sections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dml.runs.files import read_json, write_json

SCORES = "scores.json"
Intervals = Mapping[str, tuple[float, float]]


def write_scores(path: Path, sections: Mapping[str, Any], intervals: Mapping[str, Intervals] | None = None) -> None:
    """Add sections to a `scores.json`; a section given again replaces the old one, and its intervals go with it.

    Args:
        path: The file, which need not exist yet.
        sections: Scores by section, e.g. `{"val": {"recall_at_1": 0.9}, "baselines": {...}}`.
        intervals: Of some of these sections, `{"val": {"recall_at_1": (0.87, 0.93)}}`.

    Raises:
        UserError: The disk is full, or the file is damaged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / SCORES
        >>> write_scores(path, {"val": {"map_at_r": 0.5}}, {"val": {"map_at_r": (0.4, 0.6)}})
        >>> write_scores(path, {"test": {"map_at_r": 0.4}})
        >>> sorted(read_json(path)), read_json(path)["intervals"]
        (['intervals', 'test', 'val'], {'val': {'map_at_r': [0.4, 0.6]}})
    """
    known = read_json(path) if path.exists() else {}
    kept = {section: pairs for section, pairs in known.pop("intervals", {}).items() if section not in sections}
    for section, pairs in (intervals or {}).items():
        kept[section] = {name: list(pair) for name, pair in pairs.items()}
    write_json(path, {**known, **sections} | ({"intervals": kept} if kept else {}))
