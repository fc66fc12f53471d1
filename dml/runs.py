"""The run folder: names, atomic writing and reading; it knows nothing of torch or of what the numbers mean.

A run is `RUNS_DIR/NAME/` with `config.yaml`, `checkpoints/{best,last}.ckpt`, `scores.json`, `protocol.json`,
`pictures/` and TensorBoard events.
"""

import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from dml.errors import UserError

CONFIG = "config.yaml"
SCORES = "scores.json"
PROTOCOL = "protocol.json"
CHECKPOINTS = "checkpoints"
PICTURES = "pictures"


def new_run(runs_dir: str | Path, name: str | None = None) -> Path:
    """Return the path a new run will have; nothing is created yet.

    Args:
        runs_dir: The folder that holds the runs.
        name: One folder name; None takes the date and time.

    Raises:
        UserError: The name is not a plain folder name, or such a run exists.

    Example:
        >>> new_run("no_runs_yet", "first").as_posix()
        'no_runs_yet/first'
    """
    if name is None:
        name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if name != Path(name).name or name in {"", ".", ".."}:
        raise UserError(f"run name {name!r} is not a plain folder name: put the folder into --runs_dir")
    run = Path(runs_dir) / name
    if run.exists():
        resumable = (run / CHECKPOINTS / "last.ckpt").exists()
        mend = f"go on with it by --name {name} --ckpt_path last" if resumable else "remove it (it holds no checkpoint)"
        raise UserError(f"run {name!r} exists in {runs_dir}: choose another --name, or {mend}")
    return run


def find_run(run: str | Path, runs_dir: str | Path = "runs") -> Path:
    """Return the folder of an existing run, given by its path, its name in `runs_dir`, or `latest`.

    Args:
        run: A path to a run folder, a name, or `latest`.
        runs_dir: The folder that holds the runs.

    Raises:
        UserError: There is no such run, or the folder holds no `config.yaml`.

    Example:
        >>> find_run("nowhere", "no_runs_yet")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no run 'nowhere': neither a folder of that path nor a run in no_runs_yet
    """
    if str(run) == "latest":
        return _latest_run(runs_dir)
    folders = [folder for folder in (Path(runs_dir) / run, Path(run)) if folder.is_dir()]
    for folder in folders:
        if (folder / CONFIG).is_file():
            return folder
    if folders:
        raise UserError(f"{folders[0]} is not a run: it holds no {CONFIG}; give a folder written by `dml fit`")
    raise UserError(f"no run {str(run)!r}: neither a folder of that path nor a run in {runs_dir}")


def find_checkpoint(run: Path, which: str) -> Path:
    """Return the path of a run's checkpoint `best` or `last`.

    Raises:
        UserError: The run has no such checkpoint.

    Example:
        >>> find_checkpoint(Path("no_runs_yet/first"), "best")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: run no_runs_yet/first has no checkpoint 'best': it ended before one was saved; train again
    """
    path = run / CHECKPOINTS / f"{which}.ckpt"
    if not path.is_file():
        raise UserError(f"run {run} has no checkpoint {which!r}: it ended before one was saved; train again")
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader never sees half of it.

    Raises:
        UserError: The disk is full or the folder cannot be written.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "note.txt"
        >>> write_bytes(file, b"all of it")
        >>> file.read_text()
        'all of it'
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # a temporary file is readable by its owner alone
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path} ({reason}): free some space or choose another place") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys sorted, so that equal values give equal bytes.

    Raises:
        UserError: The disk is full or the folder cannot be written.
        ValueError: A number is NaN or infinite; JSON has no word for it.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "scores.json"
        >>> write_json(file, {"val": {"recall_at_1": 0.5}})
        >>> read_json(file)
        {'val': {'recall_at_1': 0.5}}
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        UserError: The file is missing or is not JSON.

    Example:
        >>> read_json(Path("no_runs_yet/scores.json"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file no_runs_yet/scores.json: the run is incomplete
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: the run is incomplete") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): restore it or run again") from error


def merge_scores(path: Path, scores: dict[str, Any]) -> None:
    """Add sections to a `scores.json`; a section given again replaces the old one, and its intervals go with it.

    Args:
        path: The file, which need not exist yet.
        scores: Sections by name, e.g. `{"val": {"recall_at_1": 0.9}}`.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / SCORES
        >>> merge_scores(path, {"val": {"map_at_r": 0.5}})
        >>> merge_scores(path, {"test": {"map_at_r": 0.4}})
        >>> sorted(read_json(path))
        ['test', 'val']
    """
    known = read_json(path) if path.exists() else {}
    if "intervals" in known:
        known["intervals"] = {section: pairs for section, pairs in known["intervals"].items() if section not in scores}
    write_json(path, known | scores)


def _latest_run(runs_dir: str | Path) -> Path:
    configs = list(Path(runs_dir).glob(f"*/{CONFIG}"))
    if not configs:
        raise UserError(
            f"no runs in {runs_dir}: start one with `python -m dml fit`, or name its folder with --runs_dir"
        )
    return max(configs, key=lambda config: config.stat().st_mtime).parent
