"""Shows an autoencoder's reconstructions in TensorBoard and as a PNG file; other modules are ignored."""

from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from dml import reports
from dml.callbacks.picture_output import drawing, run_of, show, writers
from dml.data import Batch
from dml.modules import AutoencoderModule


@final
class Reconstructions(Callback):
    """Draw the first validation images above their reconstructions.

    Args:
        images: How many.

    Example:
        >>> Reconstructions(images=8).images
        8
    """

    def __init__(self, images: int = 12) -> None:
        self.images = images

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch of queries."""
        if batch_idx or dataloader_idx or not isinstance(pl_module, AutoencoderModule) or not trainer.is_global_zero:
            return
        if run_of(trainer) is None and not writers(trainer):
            return  # nowhere to show them
        with drawing("reconstructions"):
            pixels = pl_module.pixels((batch.images if isinstance(batch, Batch) else batch[0])[: self.images])
            again = pl_module.decoder(outputs[: self.images].float())  # autocast, if any, is over
            if bool(torch.isfinite(again).all()):  # a diverged run is seen in its loss
                originals, rows = pixels.float().cpu().numpy(), {"reconstruction": again.float().cpu().numpy()}
                show(trainer, "reconstructions", reports.reconstruction_strip(originals, rows))
