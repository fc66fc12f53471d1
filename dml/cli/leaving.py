"""How the process ends: by a signal as by Ctrl-C, and without taking apart what it has imported."""

import atexit
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

UNREAD = 120  # the exit code, as Python has it, where output cannot be written


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which `timeout`, `docker stop` and clusters end a process, clean up as Ctrl-C does.

    Whoever calls from another thread, or has an answer of its own to the signal, keeps it.

    Example:
        >>> try:
        ...     with interrupted_by_sigterm():
        ...         os.kill(os.getpid(), signal.SIGTERM)
        ... except KeyboardInterrupt:
        ...     print("interrupted")
        interrupted
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def output_is_unread() -> bool:
    """Return whether nobody reads standard output any more, as behind `| head`; where that cannot be asked, no.

    Example:
        >>> output_is_unread()
        False
    """
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll on this system, or no file behind the output
        return False


def leave(code: int) -> NoReturn:
    """End the process with an exit code; where torch is loaded, its teardown would take two seconds.

    Done as at an ordinary end: other threads are waited for, what is registered with `atexit` runs, output is written.

    Args:
        code: `UNREAD` takes its place where it is 0 and the output cannot be written.
    """
    has_torch = "torch" in sys.modules
    if has_torch:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls first
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            code = code or UNREAD
            with suppress(OSError, ValueError):  # the interpreter's own attempt, which would be reported, succeeds
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if not has_torch:
        raise SystemExit(code)
    os._exit(code)
