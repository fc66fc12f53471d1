"""`dml evaluate --queries FOLDER`: score a run's encoder on any labelled images, searched among any others."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dml import runs
from dml.cli.shared.options import as_keys, find_recipe
from dml.errors import UserError

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.data import ImageData
    from dml.data.catalog import Catalog
    from dml.embeddings import EmbeddingSet
    from dml.evaluation import Evaluation


def score_images(
    options: argparse.Namespace, keys: list[str]
) -> "tuple[EmbeddingSet, EmbeddingSet, Evaluation, list[str], tuple[str, str, str]]":
    """Embed `--queries`, and separate `--references` if there are any, with a run's encoder, and score them.

    Classes are matched by name. An image of the run's own folder that is a query is not among its references.

    Args:
        options: `run`, `runs_dir`, `config`, `ckpt_path`, `queries` and `references` of `dml evaluate`.
        keys: `--KEY VALUE` of the recipe.

    Returns:
        Queries, references, their evaluation, the names of the classes, and metric, memory and rule of groups.

    Raises:
        UserError: There is no such run or folder, its data are not images, or no class is in both.
    """
    if options.ckpt_path not in ("best", "last"):
        raise UserError(f"--ckpt_path {options.ckpt_path}: --queries are embedded by a run's best or last weights")
    which: Literal["best", "last"] = "best" if options.ckpt_path == "best" else "last"
    run, _, configs = find_recipe(options)
    if run is None:
        raise UserError("--queries are embedded by a run: give --run")

    import torch

    from dml.callbacks.baselines import embed
    from dml.cli.running.guards import user_errors
    from dml.cli.trainer import TrainerCLI
    from dml.data import ImageData
    from dml.encoders import pretrained_encoder
    from dml.evaluation import Evaluation, score_queries

    cli = TrainerCLI(as_keys(configs, keys), None)
    with user_errors():
        if not isinstance(cli.datamodule, ImageData):
            raise UserError(f"run {run} is not of images: --queries takes images")
        data = _data_of(options, cli.datamodule, run)
        data.setup("test")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        data.move(device)
        encoder = pretrained_encoder(str(run), which, options.runs_dir).to(device)
        own = cli.evaluation
        rule = own.groups or data.group_rule
        sets = [own.grouped(embed(encoder, loader, device), data) for loader in data.test_dataloader()]
        settings = (own.ks, options.knn_ks or own.knn_ks, own.max_memory, device, None, own.metric, rule, own.scores)
        found = Evaluation.of(score_queries(sets[0], sets[-1], *settings))
    return sets[0], sets[-1], found, data.class_names, (own.metric, own.max_memory, rule)


def _data_of(options: argparse.Namespace, own: "ImageData", run: Path) -> "ImageData":
    """Return queries and references as separate data, read and scaled like the run's."""
    from dml.data import ImageData, OfficialSplit
    from dml.data.sources.queries_and_references import QueriesAndReferences, open_images

    queries, references = open_images(options.queries, "--queries"), None
    if options.references == "train":
        own.setup()
        references = _training_images(own, options.queries, queries)
    elif options.references is not None and not _same_place(options.references, options.queries):
        references = open_images(options.references, "--references")
    channels, height, width = _image_shape(run)
    return ImageData(
        source=QueriesAndReferences(queries, references),
        image_size=(height, width),
        channels=1 if channels == 1 else 3,
        split=OfficialSplit(),
        mean=own.mean,
        std=own.std,
        eval_batch_size=own.eval_batch_size,
        on_error=own.on_error,
        on_flaw="keep",
        workers=own.workers,
        memory_limit=own.memory_limit,
        cache=own.cache,
        cache_dir=own.cache_dir,
    )


def _training_images(own: "ImageData", root: str, queries: "Catalog") -> "Catalog":
    """Return the catalog of a run's training images, without those that are queries."""
    import numpy as np

    from dml.data.catalog import take

    train = own.parts.train
    if own.root is not None and _same_place(own.root, root):
        asked = set(queries.names)
        train = train[np.array([own.catalog.names[i] not in asked for i in train], dtype=bool)]
    if not len(train):
        raise UserError("--references train: no training image is left besides the queries; give another folder")
    return take(own.catalog, train)


def _same_place(one: str, other: str) -> bool:
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def _image_shape(run: Path) -> tuple[int, int, int]:
    protocol = runs.read_json(run / runs.PROTOCOL)
    shape = protocol.get("data", {}).get("image_shape") if isinstance(protocol, dict) else None
    if not isinstance(shape, list) or len(shape) != 3:
        raise UserError(
            f"run {run} does not record the shape of its images: --queries needs a run of `dml fit` on images"
        )
    channels, height, width = map(int, shape)
    return channels, height, width
