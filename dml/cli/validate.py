"""`dml validate`: score a run, or a recipe that needs no training, on its validation images."""

from dml.cli.shared.options import Parser
from dml.cli.shared.scoring import score, score_parser


def main(arguments: list[str]) -> int:
    """Score and print; return 0."""
    return score("val", *build_parser().parse_known_args(arguments))


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    return score_parser("validate", "validation images")
