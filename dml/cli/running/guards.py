"""Guards around Lightning: turns its errors into one line, silences its hints, finds a broken checkpoint early."""

import argparse
import errno
import logging
import os
import re
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from dml import runs
from dml.cli.recipe.messages import one_line, with_key
from dml.errors import UserError

_NO_ROOM = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EIO}
_NO_MEMORY = "not enough memory|out of memory|can't allocate memory|Storage size calculation overflowed"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what jsonargparse and Lightning say about a user's mistake into one line.

    Example:
        >>> with user_errors():
        ...     raise MisconfigurationException("no such accelerator")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no such accelerator
    """
    try:
        yield
    except (argparse.ArgumentError, MisconfigurationException) as error:
        raise UserError(one_line(str(error))) from error
    except OSError as error:
        what = f"{error.strerror} ({error.filename})" if error.filename else str(error)
        raise UserError(f"{one_line(what)}: check the path, its permissions and the space left on the disk") from error
    except ValueError as error:
        told: BaseException | None = error
        while told is not None and not isinstance(told, UserError):  # jsonargparse wraps what a constructor raises
            told = told.__cause__
        if told is None or told is error:
            raise
        raise told from error
    except ArithmeticError as error:
        mend = "look for a 0 in the schedule, the sampler and the intervals of the recipe (--debug shows where)"
        raise UserError(f"{error}: {mend}") from error
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and "torch/optim/" in _place(error):
            raise UserError(f"model.optimizer: {one_line(str(error))}") from error
        if unlogged := re.match(r"Early stopping conditioned on metric `([^`]+)` which is not available", str(error)):
            missing = f"EarlyStopping.monitor={unlogged[1]!r} was not logged by this run"
            raise UserError(f"{missing}: choose another, e.g. val/map_at_r, and go on with --ckpt_path last") from error
        if isinstance(error, RuntimeError) and not re.search(_NO_MEMORY, str(error)):
            raise
        what = (str(error).splitlines() or ["no more was available"])[0]
        raise UserError(f"not enough memory ({what}): lower data.batch_size, or the sizes of the model") from error


@contextmanager
def construction(config: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Turn whatever a constructor raises into one line: its arguments came from the user's recipe.

    Args:
        config: Gives the parsed recipe, in which the key of a wrong argument is looked up.

    Example:
        >>> with construction():
        ...     torch.nn.Dropout(-1)
        Traceback (most recent call last):
        ...
        dml.errors.UserError: dropout probability has to be between 0 and 1, but got -1
    """
    try:
        yield
    except (argparse.ArgumentError, OSError, MemoryError, RecursionError):
        raise
    except Exception as error:
        first: BaseException = error
        while first.__cause__ is not None and not isinstance(first, UserError):
            first = first.__cause__
        if isinstance(first, UserError):
            raise UserError(with_key(str(first), config())) from first
        reason = one_line(str(first)) or type(first).__name__
        key = re.match(r'Parser key "([^"]+)"', str(error)) if first is not error else None
        raise UserError(f"{key[1]}: {reason}" if key else reason) from error


def _place(error: BaseException) -> str:
    """Return the file in which an error was raised."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else Path(frame.tb_frame.f_code.co_filename).as_posix()


@contextmanager
def disk_errors(run: Path | None) -> Iterator[None]:
    """Report in one line, which names the run, that its disk is full or read-only, whatever was writing.

    TensorBoard writes in a thread, whose own traceback is silenced: its error is raised again in this one.

    Example:
        >>> with disk_errors(Path("runs/first")):
        ...     raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: cannot write run runs/first (No space left on device): free some space or choose another
        --runs_dir
    """
    hook = threading.excepthook

    def told_here(thread: threading.ExceptHookArgs) -> None:
        if not isinstance(thread.exc_value, OSError) or thread.exc_value.errno not in _NO_ROOM:
            hook(thread)

    threading.excepthook = told_here
    try:
        yield
    except Exception as error:
        chain: list[BaseException] = [error]
        while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
            chain.append(before)  # closing a logger fails again, and torch tells of a full disk in its own words
        full = [each for each in chain if isinstance(each, OSError) and each.errno in _NO_ROOM]
        if run is None or not full:
            raise
        if told := [each for each in chain if isinstance(each, UserError)]:
            raise told[0] from error
        reason = full[0].strerror
        raise UserError(f"cannot write run {run} ({reason}): free some space or choose another --runs_dir") from error
    finally:
        threading.excepthook = hook


def check_recipe(recipe: str) -> None:
    r"""Refuse a recipe that could not be read back from its file: YAML cannot hold bytes that are not UTF-8.

    Args:
        recipe: The complete recipe, as YAML.

    Raises:
        UserError: A path in it holds such bytes; names the line.

    Example:
        >>> check_recipe('data:\n  root: "caf\\uDCE9"')
        Traceback (most recent call last):
        ...
        dml.errors.UserError: root: "caf\uDCE9" is a path of bytes that are not UTF-8, ...
    """
    if found := next((line for line in recipe.splitlines() if re.search(r"(?<!\\)\\uD[89A-F]", line)), None):
        raise UserError(
            f"{found.strip()} is a path of bytes that are not UTF-8, which a run's config.yaml cannot hold: rename the "
            "folder, or give a link to it that has another name"
        )


def check_checkpoint(checkpoint: Path | None) -> None:
    """Refuse a file that is not a checkpoint before the data is read; None means no file.

    Raises:
        UserError: The file cannot be read as a checkpoint.

    Example:
        >>> check_checkpoint(None)
    """
    if checkpoint is None:
        return
    try:
        with runs.open_file(checkpoint) as file, zipfile.ZipFile(file) as archive:
            if spoilt := archive.testzip():  # torch does not look at the checksums
                raise ValueError(f"{spoilt} is damaged")
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a file of another kind fails in many ways
        raise UserError(f"{checkpoint} is not a checkpoint, or is damaged: give a file written by `dml fit`") from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise UserError(f"{checkpoint} holds no weights of a module: give a file written by `dml fit`")


def quiet() -> None:
    """Silence the libraries' hints that do not matter to a user of `dml`; every other warning is one line.

    Example:
        >>> with warnings.catch_warnings():
        ...     quiet()
    """
    for library in ("lightning.pytorch", "lightning.fabric"):  # hardware and tips are not what was asked for
        logging.getLogger(library).setLevel(logging.WARNING)
    for hint in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*Be aware that when using `ckpt_path`.*",
        ".*sync_dist=True.*",  # every process computes the same scores
        ".*WeightAveraging callback, but loading a checkpoint.*",  # its weights are the averaged ones
        r".*Found \d+ module\(s\) in eval mode.*",  # a frozen encoder is meant
    ):
        warnings.filterwarnings("ignore", hint)
    warnings.filterwarnings("ignore", module="PIL")  # a damaged image is told in our own line
    warnings.formatwarning = _in_one_line
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _in_one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """Return a warning without the file and line of ours that gave it."""
    return f"warning: {' '.join(str(message).split())}\n"
