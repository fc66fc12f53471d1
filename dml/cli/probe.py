"""`dml probe`: what a run's encoder is worth: k-NN, heads and fine-tuning with few and with many labels."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml import cli, runs
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import real, whole, wholes
from dml.cli.shared.options import Parser, add_trust
from dml.errors import UserError

if TYPE_CHECKING:  # importing it loads torch, which --help must not
    from dml.experiments.probe import Cell, Probe

METHODS = ("knn", "linear", "mlp", "finetune")
EPILOG = """rows of the table:
  knn, linear, mlp      on the run's frozen encoder, and on a random one of the same recipe
  fine-tuned            the run's encoder is trained too, at a tenth of the head's rate
  from scratch          the same network and head, with nothing learnt before

Other words are keys of the recipe, for every cell: --data.root photos, --trainer.accelerator cpu.
Images, split and normalisation are the run's own; the scores are of its validation images, which also chose its best
weights. A run trained with labels has seen them all: few labels are few only for the heads. The same command again
continues where it stopped; other settings make other cells. Written: RUN/probe/probe.json, probe.csv,
RUN/pictures/probe.png.

examples:
  dml probe first                                     1 %, 10 % and 100 % of the labels, three seeds
  dml probe first --per_class 1,5,50 --seeds 0,1      images of each class"""


def main(arguments: list[str]) -> int:
    """Run what is missing, print a table, write the records and a picture; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    with json_alone(options.json) as print_json:
        found = _probe(options, keys)
        if options.json:
            print_json(found)
    return 0


def _probe(options: argparse.Namespace, keys: list[str]) -> dict[str, Any]:
    """Run what is missing, and return what the table shows."""
    if any(key.partition("=")[0] == "--labelled" for key in keys):
        raise UserError("--labelled is now --shares 0.01,1.0 (of each class) or --per_class 1,5 (images of each class)")
    run = runs.find_run(options.run, options.runs_dir)
    runs.find_checkpoint(run, "best")

    from dml.experiments.jobs import run_here
    from dml.experiments.probe import Probe, Settings, cells_of, run_probe

    settings = Settings(options.steps, options.batch_size, options.lr, options.encoder_lr, options.hidden, options.k)
    probe = Probe(run, settings, keys)
    cells = cells_of(options.methods, options.per_class or options.shares, options.seeds)
    missing = sum(probe.accuracy(cell) is None for cell in cells)
    print(f"{run}: {len(cells)} cells, {len(cells) - missing} of them recorded", flush=True)
    for _ in run_probe(probe, cells, run_here(cli.main), _tell):
        pass
    return _report(probe, cells, run)


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml probe",
        description="Measure what a run's encoder is worth with few and with many labels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder or name, or `latest`")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    amounts = parser.add_mutually_exclusive_group()
    amounts.add_argument(
        "--shares",
        type=_shares,
        default=(0.01, 0.1, 1.0),
        metavar="X,X",
        help="labelled shares of each class (0.01,0.1,1.0)",
    )
    amounts.add_argument(
        "--per_class",
        type=wholes(least=1, example="1,5,50"),
        metavar="N,N",
        help="instead, labelled images of each class (1,5,50)",
    )
    parser.add_argument(
        "--seeds", type=wholes(), default=(0, 1, 2), metavar="N,N", help="seeds of labels and heads (0,1,2)"
    )
    parser.add_argument(
        "--methods", type=_methods, default=METHODS, metavar="M,M", help=f"what to probe with ({','.join(METHODS)})"
    )
    parser.add_argument("--steps", type=whole(least=1), default=300, metavar="N", help="training steps of a cell (300)")
    parser.add_argument("--batch_size", type=whole(least=1), default=128, metavar="N", help="images per step (128)")
    parser.add_argument(
        "--lr", type=real(above=0), default=1e-3, help="learning rate of heads, and from scratch (0.001)"
    )
    parser.add_argument(
        "--encoder_lr", type=real(above=0), default=1e-4, help="learning rate of the encoder when fine-tuned (0.0001)"
    )
    parser.add_argument("--hidden", type=whole(least=1), default=128, metavar="N", help="width of the MLP head (128)")
    parser.add_argument(
        "--k",
        type=whole(least=1),
        default=5,
        metavar="N",
        help="neighbours that vote (5; 1 if a class has fewer images)",
    )
    add_json(parser)
    add_trust(parser)
    return parser


def _tell(cell: "Cell", accuracy: float) -> None:
    print(f"  {cell.row:<22} {cell.labelled!s:>5} labels, seed {cell.seed}: {accuracy:.3f}", flush=True)


def _report(probe: "Probe", cells: "list[Cell]", run: Path) -> dict[str, Any]:
    from dml.experiments.mean_sd import mean_sd
    from dml.experiments.probe import FOLDER, csv_of, table_of
    from dml.reports import png, probe_curves
    from dml.reports.probe import label_of

    table = table_of(probe, cells)
    amounts = list(dict.fromkeys(cell.labelled for cell in cells))
    width = max(map(len, table))
    print(f"\n{'':<{width}}" + "".join(f"  {label_of(amount):>12}" for amount in amounts))
    for row, scores in table.items():
        print(
            f"{row:<{width}}" + "".join(f"  {mean_sd(scores[amount], 3, leading_zero=False):>12}" for amount in amounts)
        )
    runs.write_bytes(run / FOLDER / "probe.csv", csv_of(probe, cells).encode())
    picture = run / runs.PICTURES / "probe.png"
    runs.write_bytes(picture, png(probe_curves(table, f"Probe of {run.name}")))
    print(f"\nvalidation accuracy, mean ± sd over the seeds; records in {run / FOLDER}, picture {picture}")
    return {"run": run, "split": "val", "accuracy": table, "records": run / FOLDER, "picture": picture}


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(word) for word in text.split(","))
    except ValueError:
        shares = (-1.0,)
    if not all(0 < share <= 1 for share in shares):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of shares in (0, 1] like 0.01,1.0")
    return shares


def _methods(text: str) -> tuple[str, ...]:
    methods = tuple(text.split(","))
    if unknown := [method for method in methods if method not in METHODS]:
        raise argparse.ArgumentTypeError(f"no method {unknown[0]!r}: choose of {', '.join(METHODS)}")
    return methods
