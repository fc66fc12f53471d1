"""Where Optuna keeps a sweep's study: a journal in a folder, or a database."""

import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # its public name is missing
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from dml.errors import UserError, reason_of, without_password

JOURNAL = "optuna.journal"
PREFIX = "journal:"
_ANSWER = 10  # seconds a database may take to answer
_TRIES = 20  # at the tables of a new database
_TURN = 120  # seconds that others may write to the journal


def open_storage(address: str) -> BaseStorage:
    """Return the storage at an address.

    Args:
        address: `journal:DIR`, a folder that all workers see, or a database's URL as SQLAlchemy has it, e.g.
            `postgresql://user@host/sweeps`.

    Raises:
        UserError: It cannot be reached.

    Example:
        >>> open_storage("journal:no_such_place/sweeps")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: storage journal:no_such_place/sweeps cannot be reached (no folder no_such_place): ...
    """
    if address.startswith(PREFIX):
        return _open_journal(address)
    if "://" not in address:
        raise UserError(
            f"storage {address!r} is neither journal:DIR nor a database's URL, e.g. postgresql://host/sweeps"
        )
    patience = "timeout" if address.startswith("sqlite") else "connect_timeout"
    with reaching(address):
        try:
            # a connection for each request: between two of them a trial is trained, and many workers share the database
            return _open_database(address, {"connect_args": {patience: _ANSWER}, "poolclass": NullPool})
        except ImportError as error:
            raise UserError(f"storage {without_password(address)} needs a driver: {reason_of(error)}") from error
        except (ValueError, RuntimeError) as error:
            raise UserError(_lost(address, reason_of(error))) from error


def _open_database(address: str, settings: dict[str, Any]) -> BaseStorage:
    """Return a database's storage; workers that start at once collide when they create its tables."""
    for _ in range(_TRIES):
        try:
            return RDBStorage(address, engine_kwargs=settings)
        except SQLAlchemyError as error:
            if not re.search("already exists|unique", str(error), re.IGNORECASE):
                raise
        time.sleep(random.uniform(0.1, 0.5))
    return RDBStorage(address, engine_kwargs=settings)


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Report in one line that a storage does not answer, or no longer answers.

    Args:
        address: The storage's.

    Raises:
        UserError: It does not answer.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = reason_of(getattr(cause, "orig", None) or cause)
        raise UserError(_lost(address, reason)) from error


def _lost(address: str, reason: str) -> str:
    mend = "mount it, or check the address; nothing recorded is lost, the same command goes on"
    return f"storage {without_password(address)} cannot be reached ({reason}): {mend}"


def _open_journal(address: str) -> BaseStorage:
    folder = Path(address.removeprefix(PREFIX))
    if not folder.parent.is_dir():  # a mount that is missing is not to become a folder of this machine
        raise UserError(_lost(address, f"no folder {folder.parent}"))
    try:
        folder.mkdir(exist_ok=True)
        file = folder / JOURNAL
        return JournalStorage(JournalFileBackend(str(file), lock_obj=JournalLock(file)))
    except OSError as error:
        raise UserError(_lost(address, reason_of(error))) from error
    except (ValueError, KeyError) as error:
        raise UserError(f"{folder / JOURNAL} is damaged ({reason_of(error)}): restore it, or choose another") from error


@final
class JournalLock(BaseJournalFileLock):
    """Gives a journal to one writer at a time; if a writer dies in any way, the system takes it back.

    Optuna's own locks are files that a killed writer leaves for half a minute. What a writer was killed in the middle
    of is cut off before the next one writes: nobody has read it.

    Args:
        journal: The file.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(journal.with_name(f".{journal.name}.lock"), timeout=_TURN)

    def acquire(self) -> bool:
        """Wait for the turn."""
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(f"{self._journal} is kept by another process: end the one that hangs") from None
        except NotImplementedError as error:
            raise OSError(f"{self._journal.parent} is on a file system without locks") from error
        self._cut_torn_line()
        return True

    def release(self) -> None:
        """Give the turn up."""
        self._lock.release()

    def _cut_torn_line(self) -> None:
        with self._journal.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0 or (file.seek(-1, os.SEEK_END) >= 0 and file.read(1) == b"\n"):
                return
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
