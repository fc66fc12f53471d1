"""Ends the process without taking apart what it has imported."""

import atexit
import os
import sys
import threading
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with an exit code; where torch is loaded, its teardown would take two seconds.

    Done as at an ordinary end: other threads are waited for, what is registered with `atexit` runs, output is written.

    Args:
        code: 120 takes its place, as Python has it, where it is 0 and the output cannot be written.
    """
    if "torch" not in sys.modules:
        raise SystemExit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls first
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            code = code or 120
    os._exit(code)
