"""Finds which modules a command line trusts: those of `--trust`, and those whose classes it names. No torch here."""

import re
from collections.abc import Sequence
from pathlib import Path

from dml.errors import UserError
from dml.runs.trust import LIBRARIES

_PATH = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"
_OWNERS = {library.partition(".")[0] for library in LIBRARIES}
_BLOCKS = {"--model", "--data", "--trainer", "--estimator"}
# keys of them that take a name or a path, which may look like a class path
_NAMES = {"root", "run", "runs_dir", "cache_dir", "save_dir", "dirpath", "default_root_dir", "path", "name", "weights"}


def take_trust(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a command line without `--trust MODULE`, and the modules it trusts.

    A class path that the user types is trusted with its package: `--model.encoder mine.nets.Encoder` trusts `mine`.
    From a library that recipes may use in part, only that class path is trusted. Names of runs and files do not count.

    Raises:
        UserError: `--trust` has no module after it.

    Example:
        >>> take_trust(["fit", "--trust", "mine", "--model.encoder=other.nets.Encoder"])
        (['fit', '--model.encoder=other.nets.Encoder'], ['mine', 'other'])
    """
    kept: list[str] = []
    trusted: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--trust" or word.startswith("--trust="):
            module = word.removeprefix("--trust=") if "=" in word else next(rest, "")
            if not module or module.startswith("-"):
                raise UserError("--trust needs a module: --trust my_package")
            trusted.append(module)
        else:
            kept.append(word)
    for word, after in zip(kept, [*kept[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        key = option.split(".")
        if key[0] in _BLOCKS and key[-1] not in _NAMES:
            trusted += _named(value if equals else after)
    return kept, list(dict.fromkeys(trusted))


def _named(value: str) -> list[str]:
    """Return what is trusted for the class paths in the value of a key."""
    if re.fullmatch(_PATH, value):
        paths = [] if _is_file(value) else [value]
    else:
        paths = re.findall(rf"""class_path["']?\s*:\s*["']?({_PATH})""", value)
    roots = [(path, path.partition(".")[0]) for path in paths]
    return [path if root in _OWNERS else root for path, root in roots if root != "jsonargparse"]


def _is_file(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):
        return False
