"""A lost training is ended with its reason; one that only looks lost goes on."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from dml.callbacks import KNNEvaluation, TrainingWatch
from dml.data import ImageData, StratifiedSplit
from dml.encoders import Encoder, MLPEncoder
from dml.errors import LostTrainingError
from dml.functional.collapse import dead_dimensions, effective_rank, spread
from dml.losses import ContrastiveLoss, PullLoss, TripletLoss
from dml.modules import EmbeddingModule
from dml.reports.events import read_curves


class Scaled(Encoder):
    """A network whose output is multiplied by a number that depends on the training step."""

    def __init__(self, factor):
        super().__init__()
        self.inner = MLPEncoder(embedding_dim=4, hidden_sizes=[8])
        self.factor = factor
        self.calls = 0

    def forward(self, images):
        self.calls += self.training
        return self.finish(self.inner(images) * self.factor(self.calls))


def fit(tmp_path, factor, loss, lr=1e-3, epochs=8, **keys):
    torch.manual_seed(0)
    module = EmbeddingModule(Scaled(factor), loss, optimizer=lambda p: torch.optim.SGD(p, lr=lr))
    watch = TrainingWatch()
    kept = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        max_epochs=epochs, callbacks=[watch, KNNEvaluation(baselines=False), kept], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1, **keys,
    )  # fmt: skip
    data = ImageData(split=StratifiedSplit(val=0.2, test=0), labelled_share=0.2, batch_size=100)
    trainer.fit(module, datamodule=data)
    return watch, trainer


def shrinking(calls):
    return 1.0 if calls < 4 else 1e-9


def test_a_collapse_that_the_loss_does_not_want_ends_the_training(tmp_path):
    with (
        pytest.warns(UserWarning, match="collapses"),
        pytest.raises(
            LostTrainingError, match=r"collapsed to one point: .* the loss 0\.5 stays at its value there, 0\.5"
        ),
    ):
        fit(tmp_path, shrinking, TripletLoss(margin=0.5))


@pytest.mark.parametrize("loss", [PullLoss(), ContrastiveLoss(pos_margin=0.0, neg_margin=0.0)])
def test_a_collapse_that_was_asked_for_is_told_once_and_goes_on(tmp_path, loss):
    with pytest.warns(UserWarning, match="collapses") as told:
        watch, trainer = fit(tmp_path, shrinking, loss)
    assert len([each for each in told if "collapses" in str(each.message)]) == 1
    assert watch.collapsed == 0
    assert trainer.current_epoch == 8


def test_a_collapse_that_passes_goes_on(tmp_path):
    with pytest.warns(UserWarning, match="collapses"):
        _, trainer = fit(tmp_path, lambda calls: 1e-9 if 4 <= calls < 9 else 1.0, TripletLoss(margin=0.5))
    assert trainer.current_epoch == 8


def test_divergence_ends_it_and_the_checkpoint_is_from_before(tmp_path):
    with pytest.raises(LostTrainingError, match=r"training diverged: val/loss is .* training began with"):
        fit(tmp_path, lambda calls: 1.0 if calls < 7 else 1e3, TripletLoss(margin=0.5), lr=1e-9)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_ends_it_at_once(tmp_path, wrong):
    with pytest.raises(LostTrainingError, match="training diverged at step 3: the gradient is nan"):
        fit(tmp_path, lambda calls: 1.0 if calls < 4 else wrong, TripletLoss(margin=0.5))


def test_what_is_logged(tmp_path):
    _, trainer = fit(tmp_path, lambda calls: 1.0, TripletLoss(margin=0.5), epochs=1)
    scores = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert 0 < scores["train/active_tuples"] <= 1
    assert scores["train/loss_if_collapsed"] == 0.5
    assert scores["train/grad_norm"] > 0
    assert 1 <= scores["val/effective_rank"] <= 4
    assert scores["val/dead_dimensions"] == 0


def test_active_tuples_are_those_that_cost_something():
    embeddings, labels = torch.randn(20, 3), torch.arange(20) % 4
    distances = torch.cdist(embeddings, embeddings).square()
    same = labels[:, None] == labels
    hinges = [
        float(distances[a, p] - distances[a, n] + 0.5)
        for a in range(20) for p in range(20) for n in range(20) if same[a, p] and a != p and not same[a, n]
    ]  # fmt: skip
    expected = sum(hinge > 0 for hinge in hinges) / len(hinges)
    assert TripletLoss(margin=0.5).active_share(embeddings, labels) == pytest.approx(expected)
    off = ~torch.eye(20, dtype=torch.bool)
    costly = (distances[same & off] > 1).sum() + (distances[~same] < 2).sum()
    share = ContrastiveLoss(pos_margin=1.0, neg_margin=2.0).active_share(embeddings, labels)
    assert share == pytest.approx(float(costly) / int(off.sum()))


def test_measures_of_an_embedding_against_numpy():
    embeddings = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5, 1, 1, 0.5, 1e-4, 0])
    centred = embeddings - embeddings.mean(dim=0)
    values = torch.linalg.svdvals(centred.double())
    shares = values[values > 0] / values.sum()
    assert effective_rank(embeddings) == pytest.approx(float((-shares * shares.log()).sum().exp()), rel=1e-5)
    assert effective_rank(embeddings.T) <= 6
    assert effective_rank(torch.full((7, 3), 0.1)) == effective_rank(torch.zeros(7, 3)) == 0.0
    assert effective_rank(torch.ones(5, 3)) == 0
    assert dead_dimensions(embeddings) == 2
    assert spread(embeddings) == pytest.approx(float(centred.norm(dim=1).mean()))


def test_it_goes_on_after_a_resume():
    watch = TrainingWatch()
    watch.largest, watch.began, watch.collapsed = {"train": 2.0, "val": 3.0}, 0.5, 2
    resumed = TrainingWatch()
    resumed.load_state_dict(watch.state_dict())
    assert (resumed.largest, resumed.began, resumed.collapsed) == (watch.largest, 0.5, 2)
    resumed.load_state_dict({"largest": 1.0})  # of a run of version 0.1
    assert resumed.largest["val"] == 1.0


def test_a_loss_that_has_brought_the_training_images_together_is_told_once(tmp_path):
    """The validation images of A2 hardly move: its collapse shows in training."""
    with pytest.warns(UserWarning, match=r"collapses, as its loss asks for \(.* at the start\)") as told:
        _, trainer = fit(tmp_path, lambda calls: 1.0 if calls < 4 else 0.1, PullLoss())
    assert len([each for each in told if "collapses" in str(each.message)]) == 1
    assert trainer.current_epoch == 8
    assert float(trainer.callback_metrics["train/spread"]) > 0


@pytest.mark.parametrize(
    ("keys", "last"),
    [
        ({"max_epochs": 1, "limit_train_batches": 60, "log_every_n_steps": 50}, 60),
        ({"max_epochs": -1, "log_every_n_steps": 50}, 25),
        ({"max_epochs": 1, "limit_train_batches": 8, "log_every_n_steps": 50}, 8),
    ],
    ids=["few steps", "ended early", "fewer steps than points"],
)
def test_every_curve_has_twenty_points_where_there_are_as_many_steps(tmp_path, keys, last):
    images, labels = torch.randn(240, 1, 4, 4), torch.arange(240) % 2
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=4)
    module = EmbeddingModule(MLPEncoder(embedding_dim=2, hidden_sizes=[4]), TripletLoss(margin=0.5))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    quiet |= {"limit_val_batches": 1, "num_sanity_val_steps": 0}
    ending = LambdaCallback(on_train_batch_end=lambda trainer, *_: setattr(trainer, "should_stop", _ends(trainer)))
    trainer = Trainer(
        callbacks=[TrainingWatch(), ending], logger=CSVLogger(tmp_path), accelerator="cpu", **quiet, **keys
    )
    trainer.fit(module, loader, loader)
    assert trainer.global_step == last
    steps, _ = read_curves(tmp_path)["train/loss"]
    assert len(steps) >= min(20, trainer.global_step)
    assert steps[-1] + 1 == last  # CSVLogger counts from 0


def _ends(trainer):
    return trainer.max_epochs == -1 and trainer.global_step == 25  # as max_time or EarlyStopping would
