"""When a checkpoint within an epoch is written, and what a schedule and a loss keep in it."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory
from torch.optim import SGD

from dml.callbacks import PeriodicCheckpoint, RandomState
from dml.data import ImageData, StratifiedSplit
from dml.encoders import LinearEncoder
from dml.errors import LostTrainingError, UserError
from dml.losses import TripletLoss
from dml.losses.pml import recall, remembered
from dml.modules import EmbeddingModule


def fit(module, *callbacks, **keys):
    quiet = {
        "logger": False,
        "enable_checkpointing": bool(callbacks),
        "enable_progress_bar": False,
        "accelerator": "cpu",
    }
    trainer = Trainer(callbacks=list(callbacks), enable_model_summary=False, num_sanity_val_steps=0, **quiet, **keys)
    trainer.fit(
        module, datamodule=ImageData(split=StratifiedSplit(val=0.2, test=0), batch_size=100, labelled_share=0.5)
    )
    return trainer


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"max_epochs": 1}, [2, 4, 6]),  # 8 batches: after the last the epoch's own checkpoint is written
        ({"max_epochs": 1, "accumulate_grad_batches": 2}, [2]),  # 4 steps
        ({"max_epochs": 1, "val_check_interval": 4}, [2, 5, 7]),  # not where a validation follows
        ({"max_steps": 5}, [2, 4]),
    ],
)
def test_it_is_written_where_nothing_is_open(tmp_path, monkeypatch, keys, expected):
    steps = []
    monkeypatch.setattr(Trainer, "save_checkpoint", lambda self, path: steps.append(self.global_step))
    own = EmbeddingModule(LinearEncoder(embedding_dim=3), TripletLoss(margin=1.0), optimizer=lambda p: SGD(p, 1e-5))
    fit(own, PeriodicCheckpoint(tmp_path / "last.ckpt", every_n_steps=2), **keys)
    assert steps == expected


def test_it_is_written_by_the_clock(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(Trainer, "save_checkpoint", lambda self, path: steps.append(self.global_step))
    moments = iter(range(0, 10_000, 25))
    monkeypatch.setattr("dml.callbacks.checkpoints.time.monotonic", lambda: next(moments))
    own = EmbeddingModule(LinearEncoder(embedding_dim=3), TripletLoss(margin=1.0), optimizer=lambda p: SGD(p, 1e-5))
    fit(own, PeriodicCheckpoint(tmp_path / "last.ckpt", every_minutes=1), max_epochs=1)
    assert len(steps) == 2


@pytest.mark.parametrize("keys", [{"every_n_steps": 0}, {"every_minutes": -1.0}, {"every_minutes": float("nan")}])
def test_a_period_is_above_zero(tmp_path, keys):
    with pytest.raises(UserError, match="give a number above 0"):
        PeriodicCheckpoint(tmp_path / "last.ckpt", **keys)


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    own = EmbeddingModule(LinearEncoder(embedding_dim=3), TripletLoss(margin=1.0), optimizer=lambda p: SGD(p, 1e38))
    with pytest.raises(LostTrainingError, match="weights are NaN or infinite"):
        fit(own, PeriodicCheckpoint(tmp_path / "last.ckpt", every_n_steps=2), max_epochs=1)
    assert not (tmp_path / "last.ckpt").exists()


def test_a_plateau_that_watches_what_is_not_logged_is_told():
    own = EmbeddingModule(
        LinearEncoder(embedding_dim=3),
        TripletLoss(margin=1.0),
        optimizer=lambda p: SGD(p, 1e-5),
        lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/los"),
    )
    with pytest.raises(UserError, match=r"model.lr_scheduler.monitor='val/los' is not logged: choose from .*val/loss"):
        fit(own, max_epochs=1)


def test_the_place_in_a_queue_goes_on():
    labels = torch.arange(6) % 2

    def step(loss, seed):
        return float(loss(torch.randn(6, 2, generator=torch.Generator().manual_seed(seed)), labels))

    whole = CrossBatchMemory(ContrastiveLoss(), embedding_size=2, memory_size=20)
    for seed in range(3):
        step(whole, seed)
    resumed = CrossBatchMemory(ContrastiveLoss(), embedding_size=2, memory_size=20)
    resumed.load_state_dict(whole.state_dict())
    recall(resumed, remembered(whole))
    assert [step(whole, seed) for seed in range(3, 8)] == [step(resumed, seed) for seed in range(3, 8)]


def test_random_states_of_an_older_run_are_read():
    state = {"cpu": torch.get_rng_state(), "cuda": []}
    expected = torch.rand(3)
    callback = RandomState()
    callback.load_state_dict(state)
    callback.on_train_start(None, None)
    assert torch.equal(torch.rand(3), expected)
