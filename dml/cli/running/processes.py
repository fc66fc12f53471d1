"""Training by several processes: what is reported, and by which process, when one of them dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import distributed

from dml.errors import LostProcessError
from dml.functional.distributed import rank


@contextmanager
def lost_processes(run: Path | None) -> Iterator[None]:
    """Turn the broken connection to a process that died into one line, reported by one of those left.

    Args:
        run: The run that can be resumed; None: nothing is kept.

    Raises:
        LostProcessError: Another process of the training ended or cannot be reached.

    Example:
        >>> with lost_processes(Path("runs/first")):
        ...     raise distributed.DistBackendError("NCCL communicator was aborted")
        Traceback (most recent call last):
        ...
        dml.errors.LostProcessError: another process of this training died: go on with `... --name first ...`
    """
    parent = os.getppid()
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        first_lives = os.getppid() == parent  # Lightning's first process starts the others
        if rank() > 1 or (rank() == 1 and first_lives):
            os._exit(LostProcessError.exit_code)
        mend = "start it again"
        if run is not None:
            mend = f"go on with `dml fit --runs_dir {run.parent} --name {run.name} --ckpt_path last`"
        raise LostProcessError(f"another process of this training died: {mend}") from error
