"""`dml validate`: score a run, or a recipe that needs no training, on its validation images."""

from dml.cli.scoring import score


def main(arguments: list[str]) -> int:
    """Score and print; return 0."""
    return score(
        "val", "validate", "Score a run, or a recipe that needs no training, on its validation images.", arguments
    )
