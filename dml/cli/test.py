"""`dml test`: score a run, or a recipe that needs no training, on its test images."""

from dml.cli.scoring import score


def main(arguments: list[str]) -> int:
    """Score and print; return 0."""
    return score("test", "test", "Score a run, or a recipe that needs no training, on its test images.", arguments)
