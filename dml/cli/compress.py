"""`dml compress`: what fewer dimensions and fewer bits cost a run's retrieval, beside the full embedding."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dml.cli.shared.embedded import embed_run, run_parser
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import wholes
from dml.cli.shared.options import Parser

if TYPE_CHECKING:  # importing it loads torch, which --help must not
    from dml.cli.trainer import TrainerCLI
    from dml.embeddings import EmbeddingSet
    from dml.evaluation import Compressed

EXAMPLES = """ways:
  cut    the first coordinates; for runs trained with dml.losses.MatryoshkaLoss
  pca    the principal axes of the training embeddings

Stored embeddings are rounded to codes fitted to the training embeddings; queries are not (asymmetric distances). One
bit is the side of the mean; 2 to 16 bits are even steps; 32 are float32. `change` is against the full embedding in
float32, with a 95 % interval paired by query whose units are the classes. Nothing is written.

examples:
  dml compress first --dims 8,16,32,64 --bits 1,4,8,32

"""
_HALF_A_POINT = 0.005


def main(arguments: list[str]) -> int:
    """Print one row per way, size and number of bits; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    with json_alone(options.json) as print_json:
        size, full, found = _compress(options, keys)
        if found is not None and options.json:
            rows = [_plain(each, size) for each in found]
            print_json({"full": full | {"dims": size, "bytes": 4 * size}, "rows": rows})
        elif found is not None:
            print(table(full, found, size))
    return 0


def _compress(
    options: argparse.Namespace, keys: list[str]
) -> "tuple[int, dict[str, float], Sequence[Compressed] | None]":
    """Return the size of the full embedding, its scores, and the rows; None in all processes but the first."""
    _, cli, queries, references = embed_run(options, keys)

    from dml.evaluation import compress

    dims = options.dims or _halves(queries.dim)
    train = _training_embeddings(cli, references)
    settings = dims, options.bits, options.ways, cli.evaluation.metric
    full, found = compress(queries, references, train, *settings, max_memory=cli.evaluation.max_memory)
    return queries.dim, full, found if cli.trainer.is_global_zero else None


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = run_parser("compress", "Tell what fewer dimensions and bits cost retrieval.")
    parser.epilog = EXAMPLES + str(parser.epilog)
    parser.add_argument(
        "--dims",
        type=wholes(least=1, example="8,16,32"),
        metavar="N,N",
        help="embedding sizes (the whole, a half, … down to 8)",
    )
    parser.add_argument(
        "--bits",
        type=_bits,
        default=(1, 4, 8, 32),
        metavar="N,N",
        help="bits per coordinate: 32, or 1 to 16 (1,4,8,32)",
    )
    parser.add_argument("--ways", type=_ways, default=("cut", "pca"), metavar="WAY,WAY", help="cut, pca (both)")
    add_json(parser)
    return parser


def table(full: dict[str, float], found: "Sequence[Compressed]", size: int) -> str:
    """Return the rows as text, and the smallest one with both scores within half a point of the full embedding's.

    Args:
        full: The scores of the full embedding.
        found: All rows.
        size: Dimensions of the full embedding.
    """
    head = f"{'way':<5}{'dims':>5}{'bits':>5}{'bytes':>7}{'smaller':>9}  recall@1  change                     "
    lines = [f"{head}  MAP@R   change"]
    lines.append(
        f"{'full':<5}{size:>5}{32:>5}{4 * size:>7}{'':>9}  {full['recall_at_1']:.4f}{'':>31}{full['map_at_r']:.4f}"
    )
    for each in found:
        cells = [f"{each.scores[name]:.4f}    {_change(each, name)}" for name in ("recall_at_1", "map_at_r")]
        smaller = f"{4 * size / each.bytes:.4g}×"
        lines.append(f"{each.way:<5}{each.dims:>5}{each.bits:>5}{each.bytes:>7}{smaller:>9}  {cells[0]}  {cells[1]}")
    near = [each for each in found if all(c.difference >= -_HALF_A_POINT for c in each.changes.values())]
    if near:
        best = min(near, key=lambda each: (each.bytes, -each.scores["recall_at_1"]))
        stored = f"{best.bytes} bytes, {4 * size / best.bytes:.4g} times smaller"
        lines.append("\nsmallest with both scores at most half a point below the full embedding's, on these queries:")
        lines.append(f"{best.way}, {best.dims} dims of {best.bits} bits: {stored}; the interval says how sure that is")
    else:
        lines.append("\nall of these have a score more than half a point below the full embedding's")
    return "\n".join(lines)


def _change(each: "Compressed", name: str) -> str:
    change = each.changes[name]
    return f"{change.difference:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"


def _plain(each: "Compressed", size: int) -> dict[str, Any]:
    changes = {
        name: {"change": change.difference, "interval": [change.low, change.high], "p_value": change.p_value}
        for name, change in each.changes.items()
    }
    about = {"way": each.way, "dims": each.dims, "bits": each.bits, "bytes": each.bytes}
    return about | {"times_smaller": 4 * size / each.bytes, "scores": each.scores, "changes": changes}


def _training_embeddings(cli: "TrainerCLI", references: "EmbeddingSet") -> "EmbeddingSet":
    """Return the embeddings of the training images, which may be the references themselves."""
    import numpy as np

    from dml.callbacks.baselines import embed
    from dml.callbacks.collector import encoder_of

    train = cli.datamodule.parts.train
    if np.isin(references.ids, train).all():
        return references
    return embed(encoder_of(cli.model), cli.datamodule.ordered_dataloader(train), cli.model.device)


def _halves(size: int) -> list[int]:
    return [size] + [size >> by for by in range(1, size.bit_length()) if size >> by >= 8]


def _bits(text: str) -> tuple[int, ...]:
    numbers = wholes(least=1, example="1,4,8,32")(text)
    if wrong := [number for number in numbers if number > 16 and number != 32]:
        raise argparse.ArgumentTypeError(f"{wrong[0]} bits: give 32, or 1 to 16")
    return numbers


def _ways(text: str) -> tuple[str, ...]:
    ways = tuple(word.strip() for word in text.split(","))
    if not set(ways) <= {"cut", "pca"} or len(set(ways)) < len(ways):
        raise argparse.ArgumentTypeError(f"{text!r}: give cut, pca or cut,pca")
    return ways
