"""`dml predict`: write what a run's model gives for any images to a file."""

from pathlib import Path

from dml.cli.options import Parser, as_keys, find_recipe, scored_parser
from dml.errors import UserError


def main(arguments: list[str]) -> int:
    """Embed every image of the source and write one NumPy archive; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    output = Path(options.output)
    if output.exists():
        raise UserError(f"{output} exists: choose another --output")
    _, checkpoint, configs = find_recipe(options)

    from dml.cli.trainer import TrainerCLI  # loads torch, which --help must not

    cli = TrainerCLI(as_keys(configs, keys), None)
    shape = cli.predict(checkpoint, output)
    if cli.trainer.is_global_zero:
        print(f"{output}: {shape[0]} samples, {shape[1]} numbers each, with labels, ids, names and class names")
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = scored_parser("predict", "Write embeddings, or the probabilities of a ClassifierModule.")
    parser.add_argument("--output", default="predictions.npz", metavar="FILE", help="NumPy archive (predictions.npz)")
    return parser
