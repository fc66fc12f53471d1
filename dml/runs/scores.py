"""The one writer of `scores.json`: sections of scores, baselines, and the intervals of the sections."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dml.errors import UserError, printable
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
        The scores that are left out because they are infinite or NaN, which JSON lacks: `["val/loss"]`.

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
    known = read_scores(path) if path.exists() else {}
    kept = {section: pairs for section, pairs in known.pop("intervals", {}).items() if section not in sections}
    for section, pairs in (intervals or {}).items():
        kept[section] = {name: list(pair) for name, pair in pairs.items()}
    left_out: list[str] = []
    content = {**known, **_finite(sections, "", left_out)}
    write_json(path, content | ({"intervals": _finite(kept, "intervals/", [])} if kept else {}))
    return left_out


def read_scores(path: Path) -> dict[str, Any]:
    """Read a `scores.json`: sections of numbers, baselines of such sections, and intervals of two numbers each.

    Raises:
        UserError: The file is missing, is not JSON, or holds something else.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / SCORES
        >>> _ = path.write_text('{"val": {"map_at_r": "high"}}')
        >>> read_scores(path)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: ... is not a file of scores ('val' does not hold numbers): restore it or score again
    """
    found = read_json(path)
    wrong = "it is not a table" if not isinstance(found, dict) else _misfit(found)
    if wrong:
        raise UserError(f"{path} is not a file of scores ({wrong}): restore it or score again")
    return dict(found)


def baseline_label(name: str, sections: Mapping[str, Mapping[str, float]]) -> str:
    """Return a baseline's name in tables, with the number of images if it was scored on a sample.

    Example:
        >>> baseline_label("pixels", {"val": {}}), baseline_label("pixels", {"sample": {"images": 500, "of": 9000}})
        ('pixels', 'pixels (500 of 9,000 images)')
    """
    sample = sections.get("sample", {})
    told = name.replace("_sample", "")
    return f"{told} ({int(sample['images']):,} of {int(sample['of']):,} images)" if sample else name


def _misfit(scores: Mapping[str, Any]) -> str:
    """Return what is wrong with the form of scores; nothing if they are as `write_scores` writes them."""
    for section, content in scores.items():
        if acting := [name for name in _names({section: content}) if printable(name) != name]:
            return f"the name {acting[0]!r} holds control characters"
        groups = content.values() if section in ("baselines", "intervals") and isinstance(content, dict) else [content]
        for group in groups:
            if section == "baselines" and isinstance(group, dict):
                fits = all(isinstance(part, dict) and all(map(_is_number, part.values())) for part in group.values())
            elif isinstance(group, dict):
                fits = all(_is_pair(value) if section == "intervals" else _is_number(value) for value in group.values())
            else:
                fits = False
            if not fits:
                return f"'{section}' does not hold numbers"
    return ""


def _names(values: Mapping[str, Any]) -> list[str]:
    """Return all names of nested values."""
    inner = [name for value in values.values() if isinstance(value, dict) for name in _names(value)]
    return [*values, *inner]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


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
