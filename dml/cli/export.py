"""`dml export`: a folder with a run's encoder as ONNX, its index and the means to verify them; it needs no torch."""

import argparse
from pathlib import Path
from typing import Literal

from dml.cli.shared.options import Parser, add_trust, as_keys, find_recipe
from dml.errors import UserError, printable

EPILOG = """a run is exported as it was trained; of its recipe only keys of data are taken, where the images have moved

examples:
  dml export first --out first_artefact
  dml export first --out first_artefact --overwrite --data.root elsewhere/photos
  dml verify first_artefact                       also works without torch
  dml search first_artefact new.jpg -k 5          the same
"""
_CPU = ("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.precision=32-true", "--trainer.strategy=auto")


def main(arguments: list[str]) -> int:
    """Export, verify the result, and report it; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    if others := [key for key in keys if key.startswith("-") and not key.startswith("--data.")]:
        raise UserError(
            f"export takes no {others[0].partition('=')[0]}: a run is exported as it was trained (only --data.…)"
        )
    checkpoint: Literal["best", "last"] = "best" if options.ckpt_path == "best" else "last"
    run, _, configs = find_recipe(options)

    from dml.cli.running.guards import user_errors
    from dml.cli.trainer import TrainerCLI
    from dml.data import ImageData
    from dml.export.write import check_output, export_run, need_packages

    output = Path(options.out)
    check_output(output, options.overwrite)
    need_packages()
    cli = TrainerCLI([*as_keys(configs, keys), *_CPU, "--evaluation.retrieval=false"], None)
    if run is None or not isinstance(cli.datamodule, ImageData):
        raise UserError(f"run {run} is not of images: give a run of `dml fit` on images")
    with user_errors():
        found = export_run(run, cli.datamodule, output, checkpoint, options.runs_dir, options.overwrite)
    for check in found.checks:
        print(f"{check.name}: {check.told}")
    if found.without_threshold:
        print(f"no threshold: {printable(found.without_threshold)}")
    print(f"\n{found.folder}: {found.bytes / 2**20:.1f} MiB; see MODEL_CARD.md in it")
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml export",
        description="Write a run as a folder that is verified and searched without torch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder or name, or `latest`")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument("--ckpt_path", default="best", choices=("best", "last"), help="which weights to export (best)")
    add_trust(parser)
    parser.set_defaults(config=[])
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder, which must not exist")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing artefact")
    return parser
