"""Holds folders against other processes, and gives a training a run folder of its own, at once and atomically."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dml.errors import LostTrainingError, UserError
from dml.runs.folder import CHECKPOINTS, CONFIG, LOCK, new_run

_RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}

_held: set[FileLock] = set()  # by this process


@contextmanager
def held(folder: Path, busy: str | None = None) -> Iterator[None]:
    """Hold a folder against other processes; the system frees it when this one ends, in whatever way.

    Args:
        folder: The folder, which is created if it is missing.
        busy: The message if another process holds it.

    Raises:
        UserError: Another process holds it, or it cannot be locked.

    Example:
        >>> import tempfile
        >>> with held(Path(tempfile.mkdtemp()) / "sweep"):
        ...     print("alone")
        alone
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        told = busy or f"another process is at work in {folder}: wait for it, or choose another folder"
        raise UserError(told) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise UserError(f"{folder} cannot be locked ({error}): choose a folder that can be written to") from error
        print(f"{folder} is on a file system without locks: let only one process at a time work there", file=sys.stderr)
    _held.add(lock)
    try:
        yield
    finally:
        _held.discard(lock)
        lock.release()


def _let_go() -> None:
    """Leave the locks to the parent: decoding workers outlive killed training by seconds, and would hold its run."""
    for lock in _held:
        descriptor = lock._context.lock_file_fd
        if descriptor is not None:
            os.close(descriptor)
            lock._context.lock_file_fd = None
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def held_run(run: Path) -> Iterator[None]:
    """Hold a run while it is trained; of several processes of one training the first holds it for all.

    Raises:
        UserError: Another training holds it, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with held_run(Path(tempfile.mkdtemp())):
        ...     print("alone")
        alone
    """
    if not is_first_process():
        yield
        return
    with held(run, f"run {run} is being trained by another process: wait for it, or choose another name"):
        yield


@contextmanager
def begun_run(runs_dir: str | Path, name: str | None = None) -> Iterator[Path]:
    """Make the folder of a new run, hold it, and remove it again if the run ends before its first checkpoint.

    Of several processes of one training the first one makes and holds it.

    Args:
        runs_dir: The folder that holds the runs.
        name: One folder name; None: the date and time, followed by a number if that is taken.

    Raises:
        UserError: The name is not a plain folder name, such a run exists, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> runs_dir = Path(tempfile.mkdtemp()) / "runs"
        >>> with begun_run(runs_dir, "first") as run:
        ...     run.is_dir()
        True
        >>> runs_dir.exists()
        False
    """
    if not is_first_process():
        yield Path(runs_dir) / (name or new_run(runs_dir).name)
        return
    own_dir = not Path(runs_dir).exists()
    run = _make(runs_dir, name)
    try:
        with held_run(run), kept_if_checkpointed(run):
            yield run
    finally:
        with suppress(OSError):  # it holds other runs
            if own_dir:
                Path(runs_dir).rmdir()


@contextmanager
def kept_if_checkpointed(run: Path) -> Iterator[None]:
    """Remove a run that ends before its first checkpoint, in whatever way; the curves of failed training stay.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> with kept_if_checkpointed(run):
        ...     pass
        >>> run.exists()
        False
    """
    try:
        yield
    except LostTrainingError:
        raise
    except BaseException:
        _remove_unless_checkpointed(run)
        raise
    else:
        _remove_unless_checkpointed(run)


def _remove_unless_checkpointed(run: Path) -> None:
    if is_first_process() and not any((run / CHECKPOINTS).glob("[!.]*.ckpt")):
        shutil.rmtree(run, ignore_errors=True)


def clear_run(run: Path) -> None:
    """Remove what killed training left, so that the run can start over; recipe, lock and weights are kept."""
    for path in run.iterdir():
        if path.name in {LOCK, CONFIG, CHECKPOINTS}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def has_checkpoint(run: Path) -> bool:
    """Tell whether this run's training can be resumed.

    Example:
        >>> has_checkpoint(Path("no_runs_yet/first"))
        False
    """
    return (run / CHECKPOINTS / "last.ckpt").exists()


def is_first_process() -> bool:
    """Tell whether this process is the first of its training, according to torchrun, Slurm or Lightning.

    Example:
        >>> is_first_process()
        True
    """
    return not any(os.environ.get(rank, "0") not in {"", "0"} for rank in _RANKS)


def _make(runs_dir: str | Path, name: str | None) -> Path:
    """Make the folder of a new run, which no other process has made."""
    while True:
        run = new_run(runs_dir, name)
        try:
            run.parent.mkdir(parents=True, exist_ok=True)
            run.mkdir()
        except FileExistsError as error:  # made since `new_run` looked, or runs_dir is a file
            if not run.is_dir():
                raise UserError(f"{runs_dir} is not a folder: choose another runs_dir") from error
        except OSError as error:
            raise UserError(f"cannot make {run} ({error.strerror}): choose another runs_dir") from error
        else:
            return run
