"""`dml compare`: the difference between two runs with an interval and a test, on the same queries."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml import runs
from dml.cli.shared.json_output import add_json, json_alone, plain
from dml.cli.shared.numbers import real
from dml.cli.shared.options import Parser, add_trust

if TYPE_CHECKING:  # importing it loads torch, which --help must not
    from dml.experiments.compare import Comparison


def main(arguments: list[str]) -> int:
    """Print each score of both runs, the difference, its interval and its p-values; return 0."""
    options = build_parser().parse_args(arguments)
    with json_alone(options.json) as print_json:
        found = _compare(options)
        if options.output:
            runs.write_json(Path(options.output), plain(found))
            print(f"\nwritten to {options.output}")
        if options.json:
            print_json(found)
    return 0


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    """Print the table and return what it holds."""
    first, second = (runs.find_run(run, options.runs_dir) for run in (options.first, options.second))

    from dml.cli import evaluate  # loads torch, which --help must not
    from dml.experiments.compare import compare_runs

    rows = compare_runs(first, second, options.split, options.level, options.primary, evaluate.main)
    width = max(map(len, rows))
    percent = f"{100 * options.level:g} %"
    head = f"{'':<{width}}  {first.name:>10.10}  {second.name:>10.10}  difference  {percent + ' interval':<20} p"
    print(f"{head:<{width + 61}}  corrected p")
    for name, row in rows.items():
        means = f"{row.first:>10.4f}  {row.second:>10.4f}  {row.change.difference:>+10.4f}"
        interval = f"[{row.change.low:+.4f}, {row.change.high:+.4f}]"
        corrected = "primary" if name == options.primary else f"{row.corrected_p:.4f}"
        print(f"{name:<{width}}  {means}  {interval:<20} {row.change.p_value:.4f}  {corrected}")
    if len(rows) > 1:
        print(f"\n{options.primary} decides; the other p-values are corrected for {len(rows) - 1} tests (Holm).")
        print("Each interval goes with its own score's p, the one not corrected.")
    if told := _told_flips(rows[options.primary], options.level):
        print(told)
    about = {"first": first, "second": second, "split": options.split, "level": options.level}
    return about | {"primary": options.primary, "scores": {name: _record(row) for name, row in rows.items()}}


def _record(row: "Comparison") -> Mapping[str, Any]:
    """Return one score of both runs by name."""
    change = row.change
    flips = None if row.flips is None else dict(zip(("p_value", "least_p_value", "classes"), row.flips, strict=True))
    return {
        "first": row.first,
        "second": row.second,
        "difference": change.difference,
        "interval": [change.low, change.high],
        "p_value": change.p_value,
        "corrected_p_value": row.corrected_p,
        "sign_flips": flips,
    }


def _told_flips(row: "Comparison", level: float) -> str:
    """Return what all sign flips say about the primary score, and which counts where they and the interval disagree."""
    if row.flips is None:
        return ""
    p_value, least, count = row.flips
    told = f"With only {count} classes: over all {2**count:,} sign flips p is {p_value:.4f}, at least {least:.4f}."
    if (p_value < 1 - level) == (row.change.p_value < 1 - level):
        return told
    if least >= 1 - level:
        return f"{told} With so few classes no p can fall below {1 - level:g}: the interval alone decides."
    return f"{told} The two tests disagree at {1 - level:g}: the larger p holds, no difference is shown."


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(prog="dml compare", description="Compare two runs query by query.", allow_abbrev=False)
    parser.add_argument("first", metavar="RUN", help="a run's folder or name, or `latest`")
    parser.add_argument("second", metavar="RUN", help="the run to compare with it")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument(
        "--split", choices=("val", "test"), default="val", help="the part whose images are the queries (val)"
    )
    parser.add_argument(
        "--level",
        type=real(above=0, below=1),
        default=0.95,
        metavar="P",
        help="confidence level of the intervals (0.95)",
    )
    parser.add_argument(
        "--primary", default="map_at_r", metavar="SCORE", help="the score that decides; others are corrected (map_at_r)"
    )
    parser.add_argument("--output", metavar="FILE", help="also write what --json prints to a file")
    add_json(parser)
    add_trust(parser)
    return parser
