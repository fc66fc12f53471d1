"""`dml test`: score a run, or a recipe that needs no training, on its test images."""

from dml.cli.shared.folds import holds_folds, score_folds
from dml.cli.shared.options import Parser
from dml.cli.shared.scoring import score, score_parser


def main(arguments: list[str]) -> int:
    """Score and print; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    folder = holds_folds(options)
    return score("test", options, keys) if folder is None else score_folds(folder, options, keys)


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    return score_parser("test", "test images")
