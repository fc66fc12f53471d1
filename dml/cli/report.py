"""`dml report`: one self-contained HTML page about a run, several runs side by side, or a sweep."""

from pathlib import Path

from dml import runs
from dml.cli.shared.options import Parser

_PAGE = "report.html"


def main(arguments: list[str]) -> int:
    """Write the page and say where it is; return 0."""
    options = build_parser().parse_args(arguments)
    names, runs_dir = options.run or ["latest"], Path(options.runs_dir)

    from dml.experiments.report import write_report  # loads matplotlib, which --help must not
    from dml.experiments.report_runs import find_sweep, write_runs_report, write_sweep_report

    sweep = find_sweep(names[0], runs_dir) if len(names) == 1 else None
    folders = [] if sweep else [runs.find_run(name, runs_dir) for name in names]
    output = Path(options.output) if options.output else None
    if sweep:
        path = write_sweep_report(sweep, output or sweep / _PAGE)
    elif len(folders) == 1:
        path = write_report(folders[0], output)
    else:
        path = write_runs_report(folders, output or runs_dir / _PAGE)
    print(f"{path}: open it in a browser")
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml report",
        description="Write one HTML page of a run: scores, curves, pictures, confusion, suspects, protocol, recipe. Of "
        "several runs, or of a sweep: the ranking, all curves, what differs, the scores against each swept key.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", nargs="*", metavar="RUN", help="folders or names of runs, or of one sweep (the latest run)"
    )
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument(
        "--output", metavar="FILE", help="the page (report.html in the run or sweep; of several runs in runs_dir)"
    )
    return parser
