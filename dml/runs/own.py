"""Remembers which modules a recipe was trained with on this machine, so that they need not be named again."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from dml.runs.files import read_bytes, read_json, write_json
from dml.runs.trust import extend_trust, trusted_modules

_MOST = 2**20  # bytes of a recipe


def user_cache() -> Path:
    """Return the cache folder, for what can be made again: $DML_CACHE or ~/.cache/dml.

    Example:
        >>> isinstance(user_cache(), Path)
        True
    """
    return Path(os.environ.get("DML_CACHE") or "~/.cache/dml").expanduser()


def remember_trust(recipe: bytes) -> None:
    """Keep which modules are trusted now for a recipe, by its hash; outside the run folder, which may be passed on.

    Args:
        recipe: The bytes of its `config.yaml`.
    """
    if trusted_modules():
        with suppress(OSError, ValueError):  # where nothing can be kept, the next command names them again
            _place(recipe).parent.mkdir(parents=True, exist_ok=True)
            write_json(_place(recipe), {"trusted": list(trusted_modules())})


def trust_own(config: Path) -> None:
    """Trust the modules of a recipe that was trained here, unchanged to the byte; of any other recipe, none.

    Args:
        config: A run's `config.yaml`.
    """
    try:
        known = read_json(_place(read_bytes(config, _MOST)))["trusted"]
    except (OSError, ValueError, KeyError):
        return
    if isinstance(known, list) and all(isinstance(module, str) for module in known):
        extend_trust(*known)


def _place(recipe: bytes) -> Path:
    return user_cache() / "trusted" / f"{hashlib.sha256(recipe).hexdigest()}.json"
