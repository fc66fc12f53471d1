"""Shows the embedding in TensorBoard and as PNG files: projector, retrieval gallery, 2-D map, weight histograms."""

import math
from typing import Literal, final

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from dml import reports
from dml.callbacks.collector import encoder_of
from dml.callbacks.evaluation import KNNEvaluation
from dml.callbacks.picture_output import drawing, run_of, show, writers
from dml.data import LabelledData, datamodule_of
from dml.embeddings import EmbeddingSet, spread_positions
from dml.errors import UserError
from dml.evaluation.projection import find_umap, project

_CANVAS = 1024  # pixels of all images of the projector together, side by side: TensorBoard holds many copies of it
_AT_ONCE = 32  # images decoded in full size for it


@final
class Pictures(Callback):
    """Draw pictures of the validation images when a trained encoder is scored and, if asked for, during training.

    Args:
        projection: The 2-D picture: `tsne`, `pca`, `umap` (package umap-learn), or `none`.
        max_points: Images shown in the projector and the 2-D picture; t-SNE takes about 1 s per 500 of them.
        gallery_queries: Rows of the retrieval gallery: half spread evenly over the classes, half the worst queries.
        gallery_neighbors: Nearest references shown per query.
        every_n_epochs: Also draw after every so many epochs; 0 draws only at the end.

    Example:
        >>> Pictures(projection="pca").max_points
        1000
    """

    def __init__(
        self,
        projection: Literal["tsne", "pca", "umap", "none"] = "tsne",
        max_points: int = 1000,
        gallery_queries: int = 8,
        gallery_neighbors: int = 8,
        every_n_epochs: int = 0,
    ) -> None:
        if min(max_points, gallery_queries, gallery_neighbors) < 1 or every_n_epochs < 0:
            raise UserError("pictures: max_points, gallery_queries and gallery_neighbors are at least 1")
        if projection == "umap":
            find_umap()  # told before training, not after
        self.projection = projection
        self.max_points = max_points
        self.gallery_queries = gallery_queries
        self.gallery_neighbors = gallery_neighbors
        self.every_n_epochs = every_n_epochs
        self._first_weight: NDArray[np.floating] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the first weight matrix as it was at the start."""
        _, weight = _first_weight(encoder_of(pl_module))
        self._first_weight = weight

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the histogram of every weight."""
        if not trainer.is_global_zero:
            return
        for writer in writers(trainer):
            for name, parameter in pl_module.named_parameters():
                if bool(torch.isfinite(parameter).all()):  # a diverged run is seen in its loss
                    with drawing(f"weights/{name}"):
                        writer.add_histogram(f"weights/{name}", parameter.detach().cpu(), trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, at the end or when an epoch is due."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not trainer.is_global_zero or (trainer.state.fn == "fit" and not due):
            return
        if run_of(trainer) is None and not writers(trainer):
            return  # nowhere to show them
        evaluation = next((c for c in trainer.callbacks if isinstance(c, KNNEvaluation)), None)  # type: ignore[attr-defined]
        data = datamodule_of(trainer)
        if evaluation is None or evaluation.queries is None or evaluation.references is None or data is None:
            return
        shown = evaluation.queries.spread_evenly(self.max_points)
        with drawing("gallery"):
            if (figure := self._gallery(data, evaluation)) is not None:
                show(trainer, "gallery", figure)
        with drawing(self.projection):
            if (figure := self._map(data, shown.in_metric(evaluation.metric))) is not None:
                show(trainer, self.projection, figure)
        name, weight = _first_weight(encoder_of(pl_module))
        if weight is not None and self._first_weight is not None:
            with drawing("weights"):
                show(trainer, "weights", reports.weight_histogram(self._first_weight, weight, name))
        with drawing("projector"):
            self._project(trainer, data, shown.in_metric(evaluation.metric))

    def _gallery(self, data: LabelledData, evaluation: KNNEvaluation) -> Figure | None:
        near = evaluation.neighborhoods(max(self.gallery_neighbors, 10))  # as many as the record of neighbours asks for
        near = near.take(spread_positions(near.labels, self.max_points), self.gallery_neighbors)
        shown = _half_worst(near.neighbor_labels == near.labels[:, None], self.gallery_queries)
        found = near.neighbor_ids[shown]  # (n,k)
        queries, neighbors = data.thumbnails(near.ids[shown]), data.thumbnails(found.flatten())
        if queries is None or neighbors is None:
            return None
        return reports.retrieval_gallery(
            queries.numpy(),
            near.labels[shown],
            neighbors.unflatten(0, found.shape).numpy(),
            near.neighbor_labels[shown],
            near.distances[shown],
            data.class_names,
            list(map(str, data.names_of(near.ids[shown]))),
            [list(map(str, data.names_of(row))) for row in found],
        )

    def _map(self, data: LabelledData, shown: EmbeddingSet) -> Figure | None:
        points = shown.embeddings
        if self.projection == "none" or min(points.shape) < 2:
            return None
        flat, how = project(points, self.projection)
        title = f"{len(points)} held-back images ({how})"
        return reports.embedding_map(flat, shown.labels, data.class_names, title)

    def _project(self, trainer: Trainer, data: LabelledData, shown: EmbeddingSet) -> None:
        images = _small_images(data, shown.ids)
        names = [reports.plain(data.class_names[label]) for label in shown.labels.tolist()]
        for writer in writers(trainer):
            writer.add_embedding(torch.from_numpy(shown.embeddings), names, images, trainer.global_step, "val")


def _small_images(data: LabelledData, ids: NDArray[np.int64]) -> Tensor | None:
    """Return images (n,3,H,W) in [0, 1] with sides of at most 32 to 64 pixels, or None where they cannot be shown."""
    shown = data.thumbnails(ids[:1])
    if shown is None:
        return None
    height, width = shown.shape[-2:]
    side = min(64, max(32, _CANVAS // max(1, math.isqrt(len(ids)))))
    sides = (side, side) if max(height, width) > side else (height, width)
    small = torch.empty(len(ids), 3, *sides)  # whole: parts that are kept would cut up the memory of large images
    for start in range(0, len(ids), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        images = data.thumbnails(ids[part])
        assert images is not None
        small[part] = nn.functional.interpolate(images.float(), size=sides, mode="area") / 255
    return small


def _first_weight(encoder: nn.Module) -> tuple[str, NDArray[np.floating] | None]:
    for name, parameter in encoder.named_parameters():
        if parameter.ndim >= 2:
            return name, parameter.detach().cpu().float().numpy().copy()
    return "", None


def _half_worst(right: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Return the positions of queries to show: half spread evenly over the classes, then those with most wrong.

    Args:
        right: (Q,k), whether each neighbour is of the query's class; queries in class order.
        most: How many are shown.
    """
    even = np.rint(np.linspace(0, len(right) - 1, min(most - most // 2, len(right)))).astype(np.int64)
    worst = np.argsort(right.mean(axis=1), kind="stable")
    worst = worst[~np.isin(worst, even)][: most // 2]
    return np.concatenate([even, worst])
