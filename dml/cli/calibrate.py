"""`dml calibrate`: the distance that means "same class", and what it promises; writes `RUN/calibration.json`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml import runs
from dml.cli.shared.embedded import embed_run, is_own, run_parser
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import real, whole
from dml.cli.shared.options import Parser
from dml.errors import UserError

if TYPE_CHECKING:  # importing it loads torch, which --help must not
    from dml.evaluation import Calibration, Measured
    from dml.evaluation.class_rates import ClassRates

CALIBRATION = "calibration.json"
EXAMPLES = """two rates can be promised:
  --fmr R     false-match rate: of all pairs of images of different classes, the share within the distance (0.001)
  --fpir R    false-positive identification rate: of queries of classes that the index lacks, the share that gets a
              match anyway; it grows with the index and holds for one as large as these references

examples:
  dml calibrate first --fmr 1e-3 --confidence .95
  dml calibrate first --fpir .05                 an index that answers `unknown`

"""
_LEVEL = 0.95  # of the intervals


def main(arguments: list[str]) -> int:
    """Calibrate, write the record, print what it promises and what it does; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    with json_alone(options.json) as print_json:
        found = _calibrate(options, keys)
        if options.json and found is not None:
            print_json(found)
    return 0


def _calibrate(options: argparse.Namespace, keys: list[str]) -> dict[str, Any] | None:
    """Write and print; return what was written, None in all processes but the first."""
    run, cli, queries, references = embed_run(options, keys)

    from dml.callbacks.collector import encoder_of
    from dml.encoders import encoder_hash
    from dml.evaluation import calibrate, measure, measure_unseen

    metric, memory = cli.evaluation.metric, cli.evaluation.max_memory
    rate, of = (options.fmr, "pairs") if options.fpir is None else (options.fpir, "searches")
    found = calibrate(queries, references, rate, options.confidence, of, options.new_classes, metric, memory)  # type: ignore[arg-type]
    here = measure(queries, references, found.threshold, metric, memory)
    try:
        unseen = measure_unseen(queries, references, found, metric, memory)
    except UserError:  # too few classes to hold some back
        unseen = None
    trained_on = not cli.datamodule.parts.class_disjoint
    about = {
        "metric": metric,
        "encoder_hash": encoder_hash(encoder_of(cli.model)),
        "split_hash": cli.datamodule.describe().get("split_hash"),
        "classes_were_trained_on": trained_on,
    }
    output = Path(options.output) if options.output else run / CALIBRATION if is_own(options, keys) else None
    if not cli.trainer.is_global_zero:
        return None
    told = record(found, here, unseen) | about
    if output is not None:
        runs.write_json(output, told)
    print("\n".join(_lines(found, here, unseen, metric)))
    if trained_on:
        print("\nThe encoder was trained on these classes and separates them better than new ones, for which this")
        print("promises nothing: with data.split=dml.data.ClassDisjointSplit it never sees its validation classes.")
    print(f"\nwritten to {output}" if output else "\nsettings differ from the run's own: not written without --output")
    return told | {"written_to": output}


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = run_parser("calibrate", "Find the largest distance that keeps a promise about how often it is wrong.")
    parser.epilog = EXAMPLES + str(parser.epilog)
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument(
        "--fmr", type=real(above=0, below=1), default=1e-3, metavar="R", help="the false-match rate of pairs (0.001)"
    )
    rates.add_argument(
        "--fpir",
        type=real(above=0, below=1),
        metavar="R",
        help="instead, the rate of searches for a class that is not there",
    )
    parser.add_argument(
        "--confidence", type=real(above=0, below=1), default=0.95, metavar="P", help="confidence of the promise (0.95)"
    )
    parser.add_argument(
        "--new_classes",
        type=whole(least=1),
        metavar="N",
        help="for this many new classes taken together (as many as here)",
    )
    parser.add_argument("--output", metavar="FILE", help=f"where the record goes (RUN/{CALIBRATION})")
    add_json(parser)
    return parser


def record(found: "Calibration", here: "Measured", unseen: "ClassRates | None") -> dict[str, Any]:
    """Return what the file holds of a calibration.

    Args:
        found: The distance and its promise.
        here: What it does on the classes that chose it.
        unseen: The promised rate on classes that did not choose; None: too few to hold some back.
    """
    return {
        "threshold": found.threshold,
        "of": found.of,
        "fmr" if found.of == "pairs" else "fpir": found.rate,
        "confidence": found.confidence,
        "new_classes": found.new_classes,
        "num_classes": found.num_classes,
        "num_queries": found.num_queries,
        "num_references": found.num_references,
        "on_these_classes": {
            "fmr": _rate(here.pairs),
            "fpir": _rate(here.searches),
            "true_match_rate": here.true_match_rate,
            "known_answered": here.known_answered,
            "auroc_unknown": here.auroc,
        },
        "on_unseen_classes": None if unseen is None else _rate(unseen),
    }


def _rate(rates: "ClassRates") -> dict[str, Any]:
    from dml.evaluation.class_rates import rate_bounds

    low, high = (float(bound[0]) for bound in rate_bounds(rates, 0.5 + _LEVEL / 2))
    return {"rate": float(rates.rate[0]), "interval": [low, high]}


def _lines(found: "Calibration", here: "Measured", unseen: "ClassRates | None", metric: str) -> list[str]:
    pairs = found.of == "pairs"
    what = "pairs of different classes" if pairs else "searches for a class that is not there"
    told = (
        f"at most {found.rate:g} of {what}, with confidence {found.confidence:g}, on {found.new_classes:g} new classes"
    )
    rows = [
        ("distance", f"{found.threshold:.6g}  ({metric}); as near or nearer is a match"),
        ("promise", told),
        ("", ""),
        ("", f"rate      95 % interval, over {found.num_classes} classes"),
        ("pairs of different classes", _told(here.pairs)),
        ("  the same, held-back classes" if pairs else "", _told(unseen) if pairs else ""),
        ("searches, class not there", _told(here.searches)),
        ("" if pairs else "  the same, held-back classes", "" if pairs else _told(unseen)),
        ("pairs of one class", f"{here.true_match_rate:.4f}"),
        ("searches, class there", f"{here.known_answered:.4f}"),
        ("AUROC of `unknown`", f"{here.auroc:.4f}"),
    ]
    kept = [row for at, row in enumerate(rows) if any(row) or at == 2]
    return [f"{name:<30}{text}".rstrip() for name, text in kept]


def _told(rates: "ClassRates | None") -> str:
    if rates is None:
        return "too few classes to hold a fifth of them back"
    own = _rate(rates)
    return f"{own['rate']:<9.3g} [{own['interval'][0]:.3g}, {own['interval'][1]:.3g}]"
