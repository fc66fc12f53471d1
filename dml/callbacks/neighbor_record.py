"""Records the neighbours of the scored images in the run, with thumbnails of suspects, for reports to read later."""

from pathlib import Path
from typing import final

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import nn

from dml import runs
from dml.callbacks.evaluation import KNNEvaluation
from dml.callbacks.picture_output import drawing
from dml.data import LabelledData, datamodule_of
from dml.evaluation.hubs import (
    Ints,
    find_suspects,
    write_neighborhoods,
)

_NEIGHBORS = 10  # of every query, or as many as vote
_SUSPECTS = 24  # have thumbnails
_BESIDE = 4  # neighbours shown beside a suspect
_SIDE = 96  # pixels of a thumbnail


@final
class NeighborRecord(Callback):
    """Write `neighbors_val.npz` when the trained encoder is scored.

    Args:
        run: The run folder.

    Example:
        >>> NeighborRecord(Path("runs/first")).run.name
        'first'
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write only after training."""
        if trainer.state.fn == "fit" or not trainer.is_global_zero:
            return
        evaluation = next((c for c in trainer.callbacks if isinstance(c, KNNEvaluation)), None)  # type: ignore[attr-defined]
        data = datamodule_of(trainer)
        if evaluation is not None and evaluation.retrieval and data is not None:
            write_record_of(self.run, "val", evaluation, data)


def write_record_of(run: Path, split: str, evaluation: KNNEvaluation, data: LabelledData) -> None:
    """Write the neighbours of what was scored last; nothing if the model gives no embeddings.

    Args:
        run: The run folder.
        split: `val` or `test`.
        evaluation: Holds queries and references.
        data: Their names and pictures.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    if evaluation.queries is None or evaluation.references is None:
        return
    near = evaluation.neighborhoods(max(_NEIGHBORS, evaluation.k))
    suspects = find_suspects(near, _NEIGHBORS).positions[:_SUSPECTS]
    ids = np.concatenate([near.ids[suspects, None], near.neighbor_ids[suspects, :_BESIDE]], axis=1)
    shown = {}
    with drawing("suspects"):
        pictures = _thumbnails(data, ids) if len(suspects) else None
        shown = {} if pictures is None else {"suspects": suspects, "suspect_pictures": pictures}
    write_neighborhoods(
        runs.neighbors_path(run, split),
        near,
        names=data.names_of(near.ids),
        class_names=np.array(data.class_names),
        votes=evaluation.k,
        **shown,
    )


def _thumbnails(data: LabelledData, ids: Ints) -> NDArray[np.uint8] | None:
    """Return pictures (n,1+beside,C,h,w), n ≥ 1, of at most 96 pixels a side; None if samples cannot be shown."""
    images = data.thumbnails(ids.reshape(-1))
    if images is None:
        return None
    if max(images.shape[-2:]) > _SIDE:
        scale = _SIDE / max(images.shape[-2:])
        images = nn.functional.interpolate(images.float(), scale_factor=scale, mode="area").round().byte()
    pictures: NDArray[np.uint8] = images.reshape(*ids.shape, *images.shape[1:]).numpy()
    return pictures
