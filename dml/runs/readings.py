"""The record of every time the test part was scored: whoever looks often ends up choosing by it."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dml.errors import UserError, reason_of
from dml.runs.files import read_bytes

READINGS = "test_readings.jsonl"


def record_reading(run: Path, verb: str, checkpoint: Path | None, test_part: str) -> int:
    """Append to a run's record that its test part was scored, and return how often it had been before.

    Nothing written before is changed. One line holds the time, the verb, the hash of the checkpoint's bytes
    and the name of the test part.

    Args:
        run: The run folder.
        verb: The `dml` verb that scored.
        checkpoint: The weights; None: those the recipe starts with.
        test_part: The name of the images, as the protocol has it.

    Raises:
        UserError: The disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> record_reading(run, "test", None, "4b1d"), record_reading(run, "evaluate", None, "4b1d")
        (0, 1)
        >>> [line["verb"] for line in read_readings(run)]
        ['test', 'evaluate']
    """
    before = len(read_readings(run))
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "verb": verb,
        "checkpoint": None if checkpoint is None else _hash(checkpoint),
        "test_part": test_part,
    }
    try:
        with (run / READINGS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {run / READINGS} ({reason_of(error)}): free some space") from error
    return before


def read_readings(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's record, oldest first; a truncated one counts, but is empty.

    Raises:
        UserError: The file cannot be read.

    Example:
        >>> read_readings(Path("no_runs_yet/first"))
        []
    """
    try:
        lines = read_bytes(run / READINGS).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{run / READINGS} cannot be read ({reason_of(error)}): restore it") from error
    return [_parse(line) for line in lines if line.strip()]


def readings_of(runs_dir: Path, test_part: str) -> dict[str, int]:
    """Return how often each run in a folder of runs has scored this test part; runs that never did are left out.

    Example:
        >>> readings_of(Path("no_runs_yet"), "4b1d")
        {}
    """
    counts = {
        file.parent.name: sum(line.get("test_part") == test_part for line in read_readings(file.parent))
        for file in sorted(runs_dir.glob(f"*/{READINGS}"))
    }
    return {name: count for name, count in counts.items() if count}


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _hash(checkpoint: Path) -> str:
    with checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
