"""Finds and names run folders and the files in them.

A run is `RUNS_DIR/NAME/` with `config.yaml`, `checkpoints/{best,last}.ckpt`, `scores.json`, `protocol.json`,
`queries_{val,test}.npz` and `neighbors_{val,test}.npz` (records of single queries), `classes_{val,test}.json` (of
classes), `test_readings.jsonl`, `pictures/`, TensorBoard events, `.lock`.
"""

from datetime import datetime
from itertools import count
from pathlib import Path

from dml.errors import UserError, printable

CONFIG = "config.yaml"
PROTOCOL = "protocol.json"
CHECKPOINTS = "checkpoints"
PICTURES = "pictures"
LOCK = ".lock"  # held while the run is trained
_BYTES = 200  # of a name: file systems take 255, and files beside a run are named after it


def check_name(name: str, what: str) -> None:
    """Refuse anything but a single plain folder name that a person can read and type.

    Args:
        name: As given.
        what: What it names, for the error: `run name`.

    Raises:
        UserError: It is empty, a path, too long, or holds characters that cannot be printed.

    Example:
        >>> check_name("a/b", "run name")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: run name 'a/b' is not a plain folder name: put the folder into --runs_dir
    """
    size = len(name.encode(errors="replace"))
    if size > _BYTES:
        raise UserError(f"{what} {name[:20] + '…'!r} has {size} bytes: give at most {_BYTES}")
    if not name.isprintable() or name != name.strip():
        raise UserError(f"{what} {name!r} holds characters that cannot be seen: leave them out")
    if name != Path(name).name or name in {"", ".", ".."}:
        raise UserError(f"{what} {name!r} is not a plain folder name: put the folder into --runs_dir")


def new_run(runs_dir: str | Path, name: str | None = None) -> Path:
    """Return the path a new run will have; nothing is created yet.

    Args:
        runs_dir: The folder that holds the runs.
        name: One folder name; None: the date and time, followed by a number if that is taken.

    Raises:
        UserError: The name is not a plain folder name, or such a run exists.

    Example:
        >>> new_run("no_runs_yet", "first").as_posix()
        'no_runs_yet/first'
    """
    if name is None:
        date = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        names = (date if number == 1 else f"{date}-{number}" for number in count(1))
        return next(run for run in (Path(runs_dir) / name for name in names) if not run.exists())
    check_name(name, "run name")
    run = Path(runs_dir) / name
    if run.exists():
        if (run / LOCK).exists() and not (run / CONFIG).exists():
            mend = "add `--ckpt_path last` to start it over: it was stopped before its recipe was written"
        elif (run / CHECKPOINTS / "last.ckpt").exists() or (run / LOCK).exists():
            mend = f"go on with it using `dml fit --name {name} --ckpt_path last`"
        else:
            mend = "remove it (it holds no checkpoint)"
        raise UserError(f"run {name!r} exists in {runs_dir}: choose another name, or {mend}")
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
    if not str(run):
        raise UserError("the name of a run is empty: give a run's folder or name, or `latest`")
    folders = [folder for folder in (Path(runs_dir) / run, Path(run)) if _is_folder(folder)]
    for folder in folders:
        if (folder / CONFIG).is_file():
            if printable(folder.name) != folder.name:
                raise UserError(f"the run's name {folder.name!r} holds control characters: rename its folder")
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
        stopped = which == "best" and path.with_name("last.ckpt").is_file()
        mend = "it has not been validated; go on with it using `dml fit --ckpt_path last`"
        mend = mend if stopped else "it ended before one was saved; train again"
        raise UserError(f"run {run} has no checkpoint {which!r}: {mend}")
    return path


def queries_path(run: Path, split: str) -> Path:
    """Return where a run keeps the scores of each query of a split.

    Example:
        >>> queries_path(Path("runs/first"), "val").as_posix()
        'runs/first/queries_val.npz'
    """
    return run / f"queries_{split}.npz"


def neighbors_path(run: Path, split: str) -> Path:
    """Return where a run keeps the nearest references of the queries of a split.

    Example:
        >>> neighbors_path(Path("runs/first"), "val").as_posix()
        'runs/first/neighbors_val.npz'
    """
    return run / f"neighbors_{split}.npz"


def classes_path(run: Path, split: str) -> Path:
    """Return where a run keeps precision, recall and F1 of each class of a split.

    Example:
        >>> classes_path(Path("runs/first"), "val").as_posix()
        'runs/first/classes_val.json'
    """
    return run / f"classes_{split}.json"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long
        return False


def _latest_run(runs_dir: str | Path) -> Path:
    configs = list(Path(runs_dir).glob(f"*/{CONFIG}"))
    if not configs:
        raise UserError(f"no runs in {runs_dir}: start one with `python -m dml fit`, or name the folder of runs")
    return find_run(max(configs, key=lambda config: config.stat().st_mtime).parent, runs_dir)
