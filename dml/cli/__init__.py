"""The front door: finds the verb, imports its code, and reports a user's mistake in one line, with exit code 2."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from dml import __version__, runs
from dml.cli.leaving import UNREAD, interrupted_by_sigterm, output_is_unread
from dml.cli.recipe.trust import take_trust
from dml.errors import ToldElsewhereError, UserError, printable, without_password

# verb -> what it does; its code is `module_of(verb)`: `build_parser()` and `main(arguments) -> exit code`
VERBS = {
    "fit": "train an encoder; without arguments, on the handwritten digits that ship with scikit-learn",
    "validate": "score a run on its validation images",
    "test": "score a run on its test images",
    "evaluate": "score any encoder, run or file of embeddings: retrieval, k-NN, intervals",
    "compare": "compare two runs: how much they differ, with an interval and a test",
    "calibrate": "find the distance that means `same class`, with a bound on how often it is wrong for new classes",
    "compress": "measure what fewer dimensions and fewer bits cost a run's retrieval, with intervals",
    "list": "list what there is to choose from: encoders, losses, data, scores, recipes",
    "runs": "list all runs in a folder with their data, recipe and scores, the best first",
    "plan": "estimate what training will take before you start it: memory, time, evaluation",
    "sweep": "try values of any keys of a recipe: grid, random or Bayesian search, over several seeds",
    "report": "write one self-contained HTML page about a run",
    "probe": "measure what a run's encoder is worth with few and with many labels, beside an untrained one",
    "stages": "train in stages from one file, each passing its encoder on, and again without the first stage",
    "project": "draw the embeddings of a run or a file in two dimensions: t-SNE, PCA or UMAP",
    "audit": "check the images: class counts, single-image classes, unreadable files, duplicates across parts",
    "convert": "write image files into one Lance table, for data sets larger than the disk or the memory",
    "predict": "write the embeddings of any images to a file: folders, zips, tables, lists of files",
    "index": "make an index of any images, add images to it, remove them from it",
    "search": "find the images in an index that are most like the given ones",
    "export": "write a run as a folder that needs no torch: ONNX, index, threshold, model card, golden vectors",
    "verify": "check what an exported folder promises: checksums, golden vectors, recall@1",
    "completion": "print a script for shell completion of verbs, options and files: bash, zsh or tcsh",
}

USAGE = """usage: dml VERB [--KEY VALUE ...]        (or: python -m dml VERB ...)

{verbs}

  dml VERB --help    the options of a verb
  dml --version      the version
  --debug            show the traceback of an error that is otherwise reported in one line
  --trust MODULE     let recipes name classes of this module too; see SECURITY.md"""

_NAMED_OTHERWISE = {"list": "choices", "runs": "leaderboard"}  # names that are taken: a builtin, a package
_LONGEST = 380  # characters of a message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 done, 2 a mistake the user can fix, 130 interrupted.

    Training that loses one of its processes returns 5, training that no longer learns 4; `audit` has its own 3.

    Args:
        arguments: The command line after the program's name; None: the process's own.

    Example:
        >>> main(["--version"])
        0...
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        words, trusted = take_trust([word for word in words if word != "--debug"])
        with interrupted_by_sigterm(), runs.trusting(*trusted):
            return _run(words)
    except (UserError, OSError, MemoryError, RecursionError) as error:
        if debug:
            raise
        if isinstance(error, BrokenPipeError) and output_is_unread():  # `dml list | head`: there is nobody to tell
            return UNREAD
        if not isinstance(error, ToldElsewhereError):
            print(f"dml: {_told(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, UserError) else UserError.exit_code
    except KeyboardInterrupt:
        print("dml: interrupted", file=sys.stderr)
        return 130


def module_of(verb: str) -> str:
    """Return the name of the module that runs a verb.

    Example:
        >>> module_of("fit"), module_of("list")
        ('dml.cli.fit', 'dml.cli.choices')
    """
    return f"dml.cli.{_NAMED_OTHERWISE.get(verb, verb)}"


def _told(error: Exception) -> str:
    """Return an error as one line that any terminal can show."""
    text = str(error)
    if isinstance(error, BrokenPipeError):
        text = "a process that was to be told something has ended: see what it said before"
    elif isinstance(error, OSError):
        what = f"{error.strerror} ({error.filename})" if error.filename else text
        text = f"{what}: check the path, its permissions and the space left on the disk"
    elif isinstance(error, MemoryError):
        text = f"not enough memory ({text or 'no more was available'}): ask for smaller sizes"
    elif isinstance(error, RecursionError):
        text = "a value is nested too deeply, or refers to itself: write it out"
    plain = without_password(printable(" ".join(text.split())))
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 40]} … {plain[-37:]}"


def _run(words: list[str]) -> int:
    verb = words[0] if words else "help"
    if verb in {"-h", "--help", "help"}:
        print(USAGE.format(verbs="\n".join(f"  {name:<12} {summary}" for name, summary in VERBS.items())))
        return 0
    if verb == "--version":
        print(__version__)
        return 0
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(VERBS)}"
        raise UserError(f"no verb {verb!r}: {hint}")
    try:
        code: int = import_module(module_of(verb)).main(words[1:])
    except ModuleNotFoundError as error:  # where an exported folder is searched, there are few packages
        package = str(error.name).partition(".")[0]
        if package == "dml":
            raise
        raise UserError(f"{verb} needs the package {package}, which is not installed: install all of dml's") from error
    return code
