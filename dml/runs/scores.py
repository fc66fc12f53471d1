"""The one writer of `scores.json`: sections of scores, baselines, and the intervals of the sections."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dml.runs.files import read_json, write_json

SCORES = "scores.json"
Intervals = Mapping[str, tuple[float, float]]


def write_scores(
    path: Path, sections: Mapping[str, Any], intervals: Mapping[str, Intervals] | None = None
) -> list[str]:
    """Add sections to a `scores.json`; a section given again replaces the old one, and its intervals go with it.

    Args:
        path: The file, which need not exist yet.
        sections: Scores by section, e.g. `{"val": {"recall_at_1": 0.9}, "baselines": {...}}`.
        intervals: Of some of these sections, `{"val": {"recall_at_1": (0.87, 0.93)}}`.

    Returns:
        The scores that are left out because they are infinite or NaN, which JSON has no word for: `["val/loss"]`.

    Raises:
        UserError: The disk is full, or the file is damaged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / SCORES
        >>> write_scores(path, {"val": {"map_at_r": 0.5}}, {"val": {"map_at_r": (0.4, 0.6)}})
        []
        >>> write_scores(path, {"test": {"map_at_r": 0.4, "loss": float("inf")}})
        ['test/loss']
        >>> sorted(read_json(path)), read_json(path)["intervals"]
        (['intervals', 'test', 'val'], {'val': {'map_at_r': [0.4, 0.6]}})
    """
    known = read_json(path) if path.exists() else {}
    kept = {section: pairs for section, pairs in known.pop("intervals", {}).items() if section not in sections}
    for section, pairs in (intervals or {}).items():
        kept[section] = {name: list(pair) for name, pair in pairs.items()}
    left_out: list[str] = []
    content = {**known, **_finite(sections, "", left_out)}
    write_json(path, content | ({"intervals": _finite(kept, "intervals/", [])} if kept else {}))
    return left_out


def _finite(values: Mapping[str, Any], path: str, left_out: list[str]) -> dict[str, Any]:
    """Return nested values without those that are not finite, whose paths are added to `left_out`."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            kept[name] = _finite(value, f"{path}{name}/", left_out)
        elif all(math.isfinite(number) for number in (value if isinstance(value, list) else [value])):
            kept[name] = value
        else:
            left_out.append(f"{path}{name}")
    return kept
