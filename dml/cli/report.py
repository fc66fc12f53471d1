"""`dml report`: one self-contained HTML page of a run, from the files it left."""

from pathlib import Path

from dml import runs
from dml.cli.options import Parser


def main(arguments: list[str]) -> int:
    """Write the page and say where it lies; return 0."""
    options = build_parser().parse_args(arguments)
    run = runs.find_run(options.run, options.runs_dir)

    from dml.experiments.report import write_report  # loads matplotlib, which --help must not

    path = write_report(run, Path(options.output) if options.output else None)
    print(f"{path}: open it in a browser")
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml report",
        description="Write one HTML page of a run: scores, curves, pictures, confusion, suspects, protocol, recipe.",
        allow_abbrev=False,
    )
    parser.add_argument("run", nargs="?", default="latest", metavar="RUN", help="a run's folder or name (the latest)")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument("--output", metavar="FILE", help="the page (report.html in the run)")
    return parser
