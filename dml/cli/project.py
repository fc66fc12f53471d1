"""`dml project`: a map of embeddings in two dimensions, of a run's held-back images or of a file."""

from pathlib import Path

from dml import runs
from dml.cli.shared.numbers import whole
from dml.cli.shared.options import Parser, as_keys, find_recipe, scored_parser
from dml.errors import UserError


def main(arguments: list[str]) -> int:
    """Draw the map and write it; return 0."""
    options, keys = build_parser().parse_known_args(arguments)
    if options.embeddings is not None and (keys or options.run or options.config):
        raise UserError("--embeddings takes neither a run nor a recipe")
    if options.embeddings is not None and options.output is None:
        raise UserError("--embeddings needs --output FILE: there is no run to put the picture into")

    import numpy as np

    from dml.embeddings import EmbeddingSet
    from dml.evaluation.projection import project
    from dml.reports import embedding_map, png

    if options.embeddings is not None:
        rows, output = EmbeddingSet.load(Path(options.embeddings)), Path(options.output)
        if not rows.class_names:  # a legend by the labels themselves
            found, codes = np.unique(rows.labels, return_inverse=True)
            rows = EmbeddingSet(rows.embeddings, codes, rows.ids, rows.names, [str(label) for label in found])
        names = list(rows.class_names)
    else:
        run, checkpoint, configs = find_recipe(options)

        from dml.cli.trainer import TrainerCLI  # loads lightning, which a file does not need

        trainer = TrainerCLI([*as_keys(configs, keys), "--evaluation.retrieval=false"], None)
        trainer.score("val", checkpoint)
        if trainer.evaluation.queries is None:
            raise UserError("this recipe's model gives no embeddings")
        rows = trainer.evaluation.queries.in_metric(trainer.evaluation.metric)
        names = trainer.datamodule.class_names
        output = Path(options.output) if options.output else (run or Path()) / runs.PICTURES / f"{options.method}.png"
    shown = rows.spread_evenly(options.max_points)
    flat, how = project(shown.embeddings, options.method)
    runs.write_bytes(output, png(embedding_map(flat, shown.labels, names, f"{len(shown)} images ({how})")))
    print(f"{len(shown)} of {len(rows)} embeddings, {how}: {output}")
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = scored_parser("project", "Draw embeddings in two dimensions, one point per image, coloured by class.")
    parser.add_argument(
        "--method", choices=("tsne", "pca", "umap"), default="tsne", help="how to project (tsne); umap needs umap-learn"
    )
    parser.add_argument("--embeddings", metavar="FILE", help="an archive of `dml predict` instead of a run")
    parser.add_argument(
        "--max_points",
        type=whole(least=2),
        default=2000,
        metavar="N",
        help="how many to draw, spread evenly over the classes (2000)",
    )
    parser.add_argument("--output", metavar="FILE", help="the PNG file (RUN/pictures/METHOD.png)")
    return parser
