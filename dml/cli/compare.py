"""`dml compare`: the difference between two runs with an interval and a test, on the same queries."""

from dml import runs
from dml.cli.numbers import real, whole
from dml.cli.options import Parser, add_trust


def main(arguments: list[str]) -> int:
    """Print each score of both runs, the difference, its interval and its p-value; return 0."""
    options = build_parser().parse_args(arguments)
    first, second = (runs.find_run(run, options.runs_dir) for run in (options.first, options.second))

    from dml.cli import evaluate  # loads torch, which --help must not
    from dml.experiments.compare import compare_runs

    rows = compare_runs(first, second, options.split, options.level, options.seed, evaluate.main)
    width = max(map(len, rows))
    percent = f"{100 * options.level:g} %"
    print(f"{'':<{width}}  {first.name:>10.10}  {second.name:>10.10}  difference  {percent + ' interval':<20} p")
    for name, (one, two, change) in rows.items():
        means = f"{one:>10.4f}  {two:>10.4f}  {change.difference:>+10.4f}"
        interval = f"[{change.low:+.4f}, {change.high:+.4f}]"
        print(f"{name:<{width}}  {means}  {interval:<20} {change.p_value:.4f}")
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(prog="dml compare", description="Compare two runs query by query.", allow_abbrev=False)
    parser.add_argument("first", metavar="RUN", help="a run's folder or name, or `latest`")
    parser.add_argument("second", metavar="RUN", help="the run to compare with it")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="whose queries (val)")
    parser.add_argument(
        "--level", type=real(above=0, below=1), default=0.95, metavar="P", help="of the intervals (0.95)"
    )
    parser.add_argument("--seed", type=whole(), default=0, metavar="N", help="of the resampling (0)")
    add_trust(parser)
    return parser
