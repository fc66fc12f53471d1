"""What verbs that embed any images share: their options, the run's encoder, their messages. No torch at the top."""

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dml.cli.shared.options import Parser
from dml.errors import UserError, printable

if TYPE_CHECKING:  # importing them loads torch or NumPy, which --help must not
    from dml.data.sources.listing import Listing
    from dml.search.embedder import RunEmbedder
    from dml.search.update import Change

_SHOWN = 10  # unreadable images that are named
UNREADABLE = 1  # the exit code


def leading_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words before the first option, and the rest.

    Example:
        >>> leading_words(["photos", "--data.root", "other"])
        (['photos'], ['--data.root', 'other'])
    """
    first = list(takewhile(lambda word: not word.startswith("-"), arguments))
    return first, list(arguments[len(first) :])


def add_listing_options(parser: Parser) -> None:
    """Add the options for how images are listed and where they are embedded."""
    parser.add_argument("--unlabelled", action="store_true", help="folders and tables do not name classes")
    parser.add_argument("--anywhere", action="store_true", help="allow paths that lead out of the list's folder")
    parser.add_argument("--device", help="where to embed: cpu, cuda (a GPU where there is one)")


def open_embedder(run: str, options: argparse.Namespace) -> "RunEmbedder":
    """Return the encoder of a run."""
    from dml.cli.running.guards import quiet
    from dml.search.embedder import RunEmbedder

    quiet()
    if options.ckpt_path not in ("best", "last"):
        raise UserError(f"--ckpt_path {options.ckpt_path}: give best or last to embed other images")
    checkpoint: Literal["best", "last"] = "best" if options.ckpt_path == "best" else "last"
    return RunEmbedder(run, checkpoint, options.runs_dir, options.device)


def list_all(paths: Sequence[str], options: argparse.Namespace) -> "list[Listing]":
    """Return the listings of all paths; single images are one listing together."""
    from dml.data.sources.files import is_image_name
    from dml.data.sources.listing import list_files, list_images

    single = [path for path in paths if is_image_name(Path(path).name) and not Path(path).expanduser().is_dir()]
    many = [path for path in paths if path not in single]
    listings = [list_images(path, not options.unlabelled, options.anywhere) for path in many]
    return [*listings, *([list_files(single)] if single else [])]


def told_change(path: Path | str, change: "Change") -> str:
    """Say in one line what a call did.

    Example:
        >>> from dml.search import Change
        >>> told_change(Path("x.npz"), Change(5, 2, 3, 0, 64, []))
        'x.npz: 5 images, 64 numbers each: 2 embedded, 3 as they were'
    """
    done = [f"{change.embedded} embedded", f"{change.reused} as they were"]
    done += [f"{change.resumed} by the call that was interrupted"] if change.resumed else []
    done += [f"{change.taken} taken over"] if change.taken else []
    done += [f"{change.removed} no longer there"] if change.removed else []
    return f"{path}: {change.total} images, {change.dim} numbers each: {', '.join(done)}"


def tell_failures(failures: Sequence[tuple[str, str]]) -> int:
    """Name the images that cannot be read and return the exit code: 0 if there are none, else 1."""
    for name, reason in failures[:_SHOWN]:
        print(f"dml: image '{printable(name)}' cannot be read ({printable(reason)}): left out", file=sys.stderr)
    if len(failures) > _SHOWN:
        print(f"dml: and {len(failures) - _SHOWN} more that cannot be read", file=sys.stderr)
    return UNREADABLE if failures else 0
