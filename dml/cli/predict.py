"""`dml predict`: writes what a run's model gives for any images to a file."""

import argparse
from pathlib import Path

from dml.cli.shared.embedding import add_listing_options, leading_words, list_all, tell_failures
from dml.cli.shared.options import Parser, as_keys, find_recipe, scored_parser
from dml.errors import UserError

EXAMPLES = """examples:
  dml predict photos --output photos.npz          any folder, zip, table or list of files, labelled or not, by the
                                                  latest run; again: only what is new or changed
  dml predict photos new.zip --run first --output photos.parquet
  dml predict --run first                         the images the run was made with, or those of --data.root

"""


def main(arguments: list[str]) -> int:
    """Embed images and write one file; return 0, or 1 if some images cannot be read."""
    if {"-h", "--help"}.intersection(arguments):
        build_parser().parse_args(["--help"])
    paths, rest = leading_words(arguments)
    options, keys = _options().parse_known_args(rest)
    if keys and not keys[0].startswith("-"):
        raise UserError(f"{keys[0]!r} stands behind an option: give PATH before all options")
    output = Path(options.output)
    suffixes = (".npz", ".parquet") if paths else (".npz",)
    if output.suffix.lower() not in suffixes:
        of = "" if paths else " for a run's own images"
        raise UserError(f"--output {output}: give a name that ends in {' or '.join(suffixes)}{of}")
    if paths:
        if keys or options.config:
            raise UserError("PATH takes no recipe: images are embedded as the run was trained (give --run only)")
        return _embed(paths, output, options)
    return _predict_source(output, options, keys)


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = _options()
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="images, folders, zips, tables, lists; before all options"
    )
    return parser


def _options() -> Parser:
    parser = scored_parser("predict", "Write embeddings or, for a classifier on the run's own images, probabilities.")
    parser.epilog = EXAMPLES + str(parser.epilog)
    parser.add_argument(
        "--output", default="predictions.npz", metavar="FILE", help=".npz, or .parquet for PATH (predictions.npz)"
    )
    add_listing_options(parser)
    return parser


def _embed(paths: list[str], output: Path, options: argparse.Namespace) -> int:
    from dml.cli.shared.embedding import open_embedder, told_change
    from dml.data.images.read import bar
    from dml.search.parquet import update_parquet
    from dml.search.update import update_store

    embedder = open_embedder(options.run or "latest", options)
    listings = list_all(paths, options)
    update = update_parquet if output.suffix.lower() == ".parquet" else update_store
    change = update(output, embedder, listings, keep=False, progress=lambda total: bar(total, "embedding"))
    print(told_change(output, change))
    return tell_failures(change.failures)


def _predict_source(output: Path, options: argparse.Namespace, keys: list[str]) -> int:
    if output.exists():
        raise UserError(f"{output} exists: choose another --output")
    _, checkpoint, configs = find_recipe(options)

    from dml.cli.trainer import TrainerCLI  # loads torch, which --help must not

    cli = TrainerCLI(as_keys(configs, keys), None)
    shape = cli.predict(checkpoint, output)
    if cli.trainer.is_global_zero:
        print(f"{output}: {shape[0]} samples, {shape[1]} numbers each, with labels, ids, names and class names")
    return 0
