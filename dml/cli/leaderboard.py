"""`dml runs`: all runs in a folder side by side, the best first."""

from collections.abc import Sequence

from dml.cli.shared.json_output import json_text
from dml.cli.shared.options import Parser
from dml.experiments.leaderboard import SCORES, LeaderboardRow, leaderboard

_COLUMNS = 4  # scores that a terminal has room for


def main(arguments: list[str]) -> int:
    """Print the leaderboard; return 0."""
    options = build_parser().parse_args(arguments)
    rows = leaderboard(options.runs_dir, options.split, options.score)
    if options.json:
        print(json_text([row._asdict() for row in rows]))
        return 0
    names = [name for name in SCORES if any(name in row.scores for row in rows)]
    if options.score:
        names = [options.score, *(name for name in names if name != options.score)]
    print(_table(rows, names[:_COLUMNS]))
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(prog="dml runs", description="List all runs in a folder, the best first.", allow_abbrev=False)
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="the part whose scores are shown (val)")
    parser.add_argument(
        "--score", metavar="SCORE", help="the score to rank by: knn_accuracy, map_at_r ... (each run's first)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every score")
    return parser


def _table(rows: Sequence[LeaderboardRow], names: Sequence[str]) -> str:
    head = ["run", *names, "data (split)", "encoder", "loss or head", "seconds", "begun"]
    lines = [head, *([*_cells(row, names)] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = {*range(1, len(names) + 1), len(head) - 2}
    shown = [
        "  ".join(
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    problems = [f"{row.name}: {row.problem}" for row in rows if row.problem]
    return "\n".join([*shown, *([""] if problems else []), *problems])


def _cells(row: LeaderboardRow, names: Sequence[str]) -> list[str]:
    scores = [f"{row.scores[name]:.4f}" if name in row.scores else "" for name in names]
    seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
    return [row.name, *scores, row.data, row.encoder, row.loss, seconds, row.created[:16].replace("T", " ")]
