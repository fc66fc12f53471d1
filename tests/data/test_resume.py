"""A run that stops in the middle of an epoch and goes on sees exactly the batches of a run that never stopped."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from pytorch_metric_learning.samplers import MPerClassSampler
from torchvision.transforms import v2

from dml.data import Augmentation, Batch, ImageData, PerImage

OURS = {"transform": Augmentation(rotate=5.0)}
BALANCED = {"transform": Augmentation(rotate=5.0), "classes_per_batch": 10}
OTHERS = {
    "transform": PerImage(v2.RandomRotation(5.0)),
    "sampler": partial(MPerClassSampler, m=20, batch_size=200, length_before_new_iter=1200),
}


class Recorder(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 2)
        self.seen: list[tuple[int, int, list[int], float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch_idx, batch.ids.tolist(), float(batch.images.sum())))
        return self.layer(batch.images.flatten(1)).sum()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)


class Stop(L.Callback):
    def __init__(self, where: str, step: int, path: Path) -> None:
        self.where, self.step, self.path = where, step, path

    def _hit(self, where: str, trainer: L.Trainer) -> None:
        if self.where == where and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path, weights_only=False)
            raise RuntimeError("stop")

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        self._hit("before the step", trainer)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self._hit("after the step", trainer)

    def on_validation_end(self, trainer, module) -> None:
        self._hit("after validation", trainer)


def train(path: Path | None = None, stop: Stop | None = None, **keys: Any) -> Recorder:
    module = Recorder()
    data = ImageData(batch_size=200, **keys)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=[stop] if stop else [],
    )
    if stop is None:
        trainer.fit(module, data, ckpt_path=path, weights_only=True if path else None)
    else:
        with pytest.raises(RuntimeError, match="stop"):
            trainer.fit(module, data)
    return module


@pytest.mark.parametrize("keys", [OURS, BALANCED, OTHERS], ids=["random", "class-balanced", "other libraries"])
def test_resume_goes_on_with_the_batches_that_were_left(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = tmp_path / "x.ckpt"
    whole = train(**keys).seen
    for where, step in [("after the step", 3), ("before the step", 8), ("after validation", 6)]:
        train(stop=Stop(where, step, path), **keys)
        assert train(path=path, **keys).seen == whole[step:], (where, step)
