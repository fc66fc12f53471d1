"""`dml verify`: checks what an exported folder promises; exit code 0 if all of it holds, else 1."""

import argparse
import sys

from dml.cli.shared.json_output import add_json, json_text
from dml.cli.shared.options import Parser

EPILOG = """checked: the SHA-256 of every file; the cosine of each golden vector with what ONNX gives, above 0.9999;
recall@1 of the images inside, and of all validation images if available, equal to torch's

examples:
  dml verify first_artefact
  dml verify first_artefact --data.root elsewhere/photos
"""
FAILED = 1  # the exit code


def main(arguments: list[str]) -> int:
    """Verify and print a line for each check; return 0, or 1 if one fails."""
    options = build_parser().parse_args(arguments)

    from dml.export.verify import verify_artefact

    checks = verify_artefact(options.folder, options.root)
    if options.json:
        print(json_text({"folder": options.folder, "checks": [check._asdict() for check in checks]}))
    for check in [] if options.json else checks:
        if check.holds:
            print(f"{check.name}: {check.told}")
        else:
            print(f"dml: {check.name}: {check.told}", file=sys.stderr)
    return 0 if all(check.holds for check in checks) else FAILED


def build_parser() -> Parser:
    """Return the parser of the verb's own options.

    Example:
        >>> build_parser().parse_args(["first_artefact", "--data.root", "photos"]).root
        'photos'
    """
    parser = Parser(
        prog="dml verify",
        description="Check what a folder of `dml export` promises; needs no torch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", help="a folder of `dml export`")
    told = "folder or zip of the images the run was made with (where they were then)"
    parser.add_argument("--data.root", dest="root", metavar="PATH", help=told)
    add_json(parser)
    return parser
