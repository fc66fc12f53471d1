"""One process of a machine prepares what all of them need, and the others take it over.

Walking folders, hashing files, decoding and drawing splits are done once; a result travels in a file of the machine.
"""

import logging
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lightning.pytorch import Trainer
from torch import distributed

from dml.errors import ToldElsewhereError, UserError, reason_of
from dml.functional.distributed import world_size

logger = logging.getLogger(__name__)
T = TypeVar("T")
_PATIENCE = timedelta(days=1000)  # one that waits does not know how many images there are


class _Left(NamedTuple):
    """What a process tells the others: its machine, the file it left there, and why it failed; "" for nothing."""

    node: int
    file: str = ""
    failed: str = ""


def prepare_once(work: Callable[[], T], trainer: Trainer | None) -> T:
    """Do some work in the first process of each machine, and return its result in all of them.

    All processes of a training call this together. The result is pickled into a temporary file, which its owner alone
    may read and which is removed as soon as the others have; where it cannot be, each process does the work itself.

    Args:
        work: does not talk to other processes.
        trainer: tells which process this is; None, or a trainer of one process: the work is done here.

    Raises:
        Exception: whatever the work raises, in the process that did it.
        ToldElsewhereError: the same in the others, with what it says.

    Example:
        >>> prepare_once(lambda: 7, None)
        7
    """
    if trainer is None or world_size() == 1:
        return work()
    done: list[T] = []
    file = ""
    try:
        with _patient_group() as group:
            failed: Exception | None = None
            if trainer.local_rank == 0:
                try:
                    done.append(work())
                    file = _leave(done[0])
                except Exception as error:  # the others wait: they are told before it is raised
                    failed = error
            left = _gather(_Left(trainer.node_rank, file, "" if failed is None else _told(failed)), group)
            if failed is not None:
                raise failed
            if told := [each.failed for each in left if each.failed]:
                raise ToldElsewhereError(told[0])
            done = done or _take(each.file for each in left if each.file and each.node == trainer.node_rank)
            distributed.barrier(group)
    finally:
        if file:
            Path(file).unlink(missing_ok=True)
    return done[0] if done else work()


@contextmanager
def _patient_group() -> Iterator[Any]:
    """Make a group of all processes in which one may wait for another for days."""
    group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    try:
        yield group
    finally:
        distributed.destroy_process_group(group)


def _gather(own: _Left, group: Any) -> list[_Left]:
    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, own, group=group)
    return found


def _leave(result: object) -> str:
    """Write a result to a file and return its path; "" where that is not possible."""
    try:
        with tempfile.NamedTemporaryFile(prefix="dml-", suffix=".pickle", delete=False) as file:
            try:
                pickle.dump(result, file, protocol=pickle.HIGHEST_PROTOCOL)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
            return file.name
    except Exception as error:  # a source may hold what cannot be pickled, in many ways
        logger.debug("what is prepared cannot be handed over (%s): each process prepares it", reason_of(error))
        return ""


def _take(files: Iterator[str]) -> list[Any]:
    """Read what another process of this training and machine has just left; nothing where it cannot be read."""
    for path in files:
        try:
            with Path(path).open("rb") as file:
                return [pickle.load(file)]
        except Exception as error:  # what one process can import and reach, another may not
            logger.debug("what is prepared cannot be taken over (%s): it is prepared here too", reason_of(error))
    return []


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"the data could not be prepared: {reason_of(error)}"
