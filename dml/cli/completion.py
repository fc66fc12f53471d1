"""`dml completion`: prints a script with which a shell completes verbs, each verb's options, and files."""

import argparse
import re
from importlib import import_module

from dml.cli import VERBS, module_of
from dml.cli.shared.options import Parser

SHELLS = ("bash", "zsh", "tcsh")


def main(arguments: list[str]) -> int:
    """Print the script; return 0."""
    print(script(build_parser().parse_args(arguments).shell))
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml completion",
        description="Print a script that completes verbs, their options and files.",
        epilog='bash and zsh: eval "$(dml completion bash)", best in the file that the shell reads at startup',
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def script(shell: str) -> str:
    """Return the completion script of a shell.

    Args:
        shell: `bash`, `zsh` or `tcsh`.

    Example:
        >>> "-F _shtab_dml dml" in script("bash")
        True
    """
    import shtab  # nothing else needs it

    files = {"FILE": shtab.FILE, "PATH": shtab.FILE, "DIR": shtab.DIRECTORY, "RUN": shtab.DIRECTORY}
    whole = Parser(prog="dml")
    verbs = whole.add_subparsers(dest="verb")
    for verb, summary in VERBS.items():
        own: Parser = import_module(module_of(verb)).build_parser()
        parser = verbs.add_parser(verb, help=summary, parents=[own], add_help=False)
        _add_keys(parser, own.epilog or "")
        for action in parser._actions:
            if action.metavar in files:
                action.complete = files[action.metavar]  # type: ignore[attr-defined]
    return str(shtab.complete(whole, shell))


def _add_keys(parser: argparse.ArgumentParser, epilog: str) -> None:
    """Add the recipe keys that the verb's help lists: the verb takes them, although its own parser does not."""
    for key, metavar, summary in re.findall(r"^  (--[\w.]+)(?: ([A-Z_]+))?  +(.+)$", epilog, re.MULTILINE):
        if key not in parser._option_string_actions:
            value = {"metavar": metavar} if metavar else {"action": "store_true"}
            parser.add_argument(key, help=summary.replace("%", "%%"), **value)
