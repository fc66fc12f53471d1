"""Finds the distance beyond which `dml search` and `dml index` call an image unknown, and says where it is from."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml.errors import printable

if TYPE_CHECKING:  # importing them loads NumPy, which --help must not
    from dml.search.calibration import Calibration
    from dml.search.found import Table


def find_threshold(options: argparse.Namespace, store: "Table", embedder: Any) -> tuple[float | None, str]:
    """Return the distance beyond which a query is unknown, and where it is from; say so if it was not given.

    Args:
        options: With `threshold`, `no_threshold` and the ways to search that change distances.
        store: The index.
        embedder: The run's; one without an `encoder_hash` uses what the index keeps.

    Raises:
        UserError: A record of a calibration is damaged.
    """
    from dml.search.calibration import fitting_calibration

    if options.threshold is not None:
        return options.threshold, "--threshold"
    if options.no_threshold:
        return None, ""
    own = getattr(embedder, "encoder_hash", None)
    found, source = fitting_calibration(embedder.folder, store.about.calibration, store.path, store.about.metric, own)
    changed = [f"--{name}" for name in ("expand", "augment", "rerank") if getattr(options, name)]
    if found is not None and changed:
        _say(f"{source} is for plain distances, not for {' and '.join(changed)}: not used")
        return None, ""
    if found is None:
        _say(source)
        return None, ""
    _say(told_threshold(found, source, len(store)))
    return found.threshold, source


def kept_calibration(run: Path, embedder: Any) -> dict[str, Any] | None:
    """Return what an index keeps of its run's calibration; None if none fits. Prints which it is.

    Raises:
        UserError: The record is damaged.
    """
    from dml.search.calibration import as_record, fitting_calibration

    found, source = fitting_calibration(run, None, "", embedder.metric, getattr(embedder, "encoder_hash", None))
    _say(source if found is None else f"the index keeps {source}: threshold {found.threshold:.6g} ({found.metric})")
    return None if found is None else as_record(found)


def told_threshold(found: "Calibration", source: str, index_size: int) -> str:
    """Say in one line what a threshold is, where it is from and what it promises."""
    return f"threshold {found.threshold:.6g} ({found.metric}) of {source}: {found.told(index_size)}"


def _say(text: str) -> None:
    if text:
        print(f"dml: {printable(text)}", file=sys.stderr)
