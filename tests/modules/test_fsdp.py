"""Under FSDP two processes share out the weights: losses and scores are those of one process, the checkpoint whole."""

import json

import lightning
import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed import fsdp

from dml.callbacks import KNNEvaluation
from dml.data import ImageData
from dml.encoders import MLPEncoder
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule


class OnProcessors(FSDPStrategy):
    """Lightning offers FSDP on CUDA alone; torch's own runs on processors too."""

    def _setup_model(self, model):
        return fsdp.FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)


class Losses(lightning.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(float(trainer.callback_metrics["train/loss"]))


def _train(folder, **settings):
    lightning.seed_everything(0)
    module = EmbeddingModule(
        MLPEncoder(embedding_dim=8), TripletLoss(margin=0.5), optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1)
    )
    losses, evaluation = Losses(), KNNEvaluation(k=5)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, limit_train_batches=4, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[evaluation, losses], **settings,
    )  # fmt: skip
    trainer.fit(module, datamodule=ImageData(batch_size=60, classes_per_batch=10))
    trainer.save_checkpoint(folder / "last.ckpt", weights_only=True)
    scores = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    if trainer.is_global_zero:
        (folder / "found.json").write_text(json.dumps([losses.seen, scores, sorted(evaluation.baselines)]))


def _one_of_two(folder):
    _train(folder, devices=2, strategy=OnProcessors(process_group_backend="gloo"))


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 15),
    reason="on the CPU, older torch crashes where it gathers the weights (seen from 2.8 to 2.12)",
)
@pytest.mark.filterwarnings("ignore")
def test_two_processes_that_share_the_weights_learn_and_score_as_one(tmp_path, under_torchrun):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    _train(one, devices=1)
    under_torchrun(_one_of_two, 2, two)
    (losses, scores, baselines), (shared_losses, shared_scores, fewer) = (
        json.loads((folder / "found.json").read_text()) for folder in (one, two)
    )
    assert shared_losses == pytest.approx(losses, abs=1e-6)
    assert shared_scores == pytest.approx(scores, abs=1e-5)
    assert (baselines, fewer) == (["pixels", "untrained"], ["pixels"])
    whole, gathered = (torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (one, two))
    assert whole.keys() == gathered.keys()
    assert all(torch.allclose(whole[name], gathered[name], atol=1e-5) for name in whole)
