"""Shows the embedding in TensorBoard and as PNG files: projector, retrieval gallery, 2-D map, weight histograms."""

from typing import Literal, final

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from dml import reports
from dml.callbacks.embeddings import Embedded, encoder_of
from dml.callbacks.evaluation import KNNEvaluation
from dml.callbacks.showing import run_of, show, writers
from dml.errors import UserError
from dml.evaluation.projection import find_umap, project
from dml.neighbors import NeighborIndex


@final
class Pictures(Callback):
    """Draw pictures of the validation images when a trained encoder is scored, and while it is trained if asked for.

    Args:
        projection: The 2-D picture: `tsne`, `pca`, `umap` (package umap-learn), or `none`.
        max_points: Images shown in the projector and the 2-D picture; t-SNE takes about 1 s per 500 of them.
        gallery_queries: Rows of the retrieval gallery: half spread evenly over the classes, half the worst queries.
        gallery_neighbors: Nearest references shown per query.
        every_n_epochs: Also draw after every so many epochs; 0 draws at the end alone.

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
        """Remember the first weight matrix as it started."""
        _, weight = _first_weight(encoder_of(pl_module))
        self._first_weight = weight

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the histogram of every weight."""
        for writer in writers(trainer):
            for name, parameter in pl_module.named_parameters():
                if bool(torch.isfinite(parameter).all()):  # a diverged run is seen in its loss
                    writer.add_histogram(f"weights/{name}", parameter.detach().cpu(), trainer.current_epoch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, at the end or when an epoch is due."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not trainer.is_global_zero or (trainer.state.fn == "fit" and not due):
            return
        if run_of(trainer) is None and not writers(trainer):
            return  # nowhere to show them
        evaluation = next((c for c in trainer.callbacks if isinstance(c, KNNEvaluation)), None)  # type: ignore[attr-defined]
        if evaluation is None or evaluation.queries is None or evaluation.references is None:
            return
        queries, references = evaluation.queries, evaluation.references
        if not bool(torch.isfinite(queries.embeddings).all()):
            return
        show(trainer, "gallery", self._gallery(trainer, queries, references))
        shown = _spread_evenly(queries, self.max_points)
        if figure := self._map(trainer, shown):
            show(trainer, self.projection, figure)
        name, weight = _first_weight(encoder_of(pl_module))
        if weight is not None and self._first_weight is not None:
            show(trainer, "weights", reports.weight_histogram(self._first_weight, weight, name))
        self._project(trainer, shown)

    def _gallery(self, trainer: Trainer, queries: Embedded, references: Embedded) -> Figure:
        data = trainer.datamodule  # type: ignore[attr-defined]
        candidates = _spread_evenly(queries, self.max_points)
        k = min(self.gallery_neighbors + 1, len(references.ids))
        found = NeighborIndex("l2").add(references.embeddings.numpy()).search(candidates.embeddings.numpy(), k)
        near = torch.from_numpy(found[0]), torch.from_numpy(found[1])
        distances, rows = _without_self(*near, references.ids, candidates.ids)
        right = references.labels[rows] == candidates.labels[:, None]  # (Q, k)
        shown = _half_worst(right, self.gallery_queries)
        chosen = Embedded(*(column[shown] for column in candidates))
        rows = rows[shown]
        images = data.thumbnails(references.ids[rows].flatten())
        return reports.retrieval_gallery(
            data.thumbnails(chosen.ids).numpy(),
            chosen.labels.numpy(),
            images.unflatten(0, tuple(rows.shape)).numpy(),
            references.labels[rows].numpy(),
            distances[shown].numpy(),
            data.class_names,
        )

    def _map(self, trainer: Trainer, shown: Embedded) -> Figure | None:
        points = shown.embeddings.numpy()
        if self.projection == "none" or min(points.shape) < 2:
            return None
        flat, how = project(points, self.projection)
        title = f"{len(points)} held-back images ({how})"
        return reports.embedding_map(flat, shown.labels.numpy(), trainer.datamodule.class_names, title)  # type: ignore[attr-defined]

    def _project(self, trainer: Trainer, shown: Embedded) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        images = data.thumbnails(shown.ids).float() / 255
        if max(images.shape[-2:]) > 64:
            images = nn.functional.interpolate(images, size=(64, 64), mode="area")
        names = [data.class_names[label] for label in shown.labels.tolist()]
        for writer in writers(trainer):
            writer.add_embedding(shown.embeddings, names, images.expand(-1, 3, -1, -1), trainer.global_step, "val")


def _first_weight(encoder: nn.Module) -> tuple[str, NDArray[np.floating] | None]:
    for name, parameter in encoder.named_parameters():
        if parameter.ndim >= 2:
            return name, parameter.detach().cpu().float().numpy().copy()
    return "", None


def _spread_evenly(embedded: Embedded, most: int) -> Embedded:
    order = embedded.labels.argsort(stable=True)  # so that every class is shown
    chosen = order[torch.linspace(0, len(order) - 1, min(most, len(order))).round().long()]
    return Embedded(*(column[chosen] for column in embedded))


def _without_self(distances: Tensor, found: Tensor, reference_ids: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Drop each query's own entry from its neighbours, or the last where it has none; (Q,k+1) becomes (Q,k)."""
    own = reference_ids[found] == ids[:, None]  # (Q, k+1)
    own[~own.any(dim=1), -1] = True
    return distances[~own].view(len(ids), -1), found[~own].view(len(ids), -1)


def _half_worst(right: Tensor, most: int) -> Tensor:
    """Return the positions of queries to show: half spread evenly over the classes, then those with most wrong."""
    even = torch.linspace(0, len(right) - 1, min(most - most // 2, len(right))).round().long()
    worst = right.float().mean(dim=1).argsort(stable=True)
    worst = worst[~torch.isin(worst, even)][: most // 2]
    return torch.cat([even, worst])
