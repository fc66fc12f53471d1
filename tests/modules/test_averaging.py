"""Lightning's averages of weights: which weights are scored and kept, and runs that stop and go on with them."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from dml.callbacks import KNNEvaluation
from dml.data import Augmentation, ImageData, StratifiedSplit
from dml.encoders import ViewAveragedEncoder, WhitenedConvEncoder
from dml.heads import LinearHead
from dml.modules import ClassifierModule
from dml.optimizers import NesterovSGD
from dml.schedules import WarmupDecay

DECAY = 0.8


def module():
    torch.manual_seed(0)
    return ClassifierModule(
        ViewAveragedEncoder(WhitenedConvEncoder(channels=[6, 8])),
        LinearHead(10, bias=False, scale=0.2),
        optimizer=lambda parameters: NesterovSGD(parameters, lr=0.5, bias_lr_scale=8.0),
        lr_scheduler=lambda optimizer: WarmupDecay(optimizer, decay="linear"),
        lr_interval="step",
        channels_last=True,
    )


def data():
    return ImageData(
        split=StratifiedSplit(val=200, test=0),
        batch_size=200,
        labelled_share=0.5,
        transform=Augmentation(crop_padding=1, alternate_flip=True),
    )


def trainer(*callbacks, **keys):
    quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_model_summary": False}
    return Trainer(max_epochs=2, num_sanity_val_steps=0, callbacks=list(callbacks), **quiet, **keys)


class Watch(EMAWeightAveraging):
    """Keeps the weights after every step."""

    def __init__(self):
        super().__init__(decay=DECAY)
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.steps.append({name: value.detach().clone() for name, value in pl_module.named_parameters()})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that never stopped, with its checkpoints after every step."""
    folder = tmp_path_factory.mktemp("whole")
    own, watch = module(), Watch()
    kept = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(watch, kept, KNNEvaluation(k=5, baselines=False)).fit(own, datamodule=data())
    return own, watch, folder


def test_the_average_is_exponential_and_is_what_remains(whole):
    own, watch, _ = whole
    for name, value in own.named_parameters():
        average = watch.steps[0][name].double()
        for step in watch.steps[1:]:
            average = DECAY * average + (1 - DECAY) * step[name].double()
        torch.testing.assert_close(value.detach().double(), average, atol=1e-5, rtol=1e-4)


def test_checkpoints_hold_the_average_to_use_and_the_weights_to_go_on_from(whole):
    _, watch, folder = whole
    checkpoint = torch.load(folder / "step=3.ckpt", weights_only=True)
    assert torch.equal(checkpoint["current_model_state"]["head.layer.weight"], watch.steps[2]["head.layer.weight"])
    assert not torch.equal(checkpoint["state_dict"]["head.layer.weight"], watch.steps[2]["head.layer.weight"])


@pytest.mark.parametrize("step", [2, 4])
def test_a_run_that_stopped_ends_with_the_same_bits(whole, step):
    own, _, folder = whole
    resumed = module()
    average = EMAWeightAveraging(decay=DECAY)
    fit = trainer(average, KNNEvaluation(k=5, baselines=False), enable_checkpointing=False)
    fit.fit(resumed, datamodule=data(), ckpt_path=folder / f"step={step}.ckpt", weights_only=True)
    state, truth = resumed.state_dict(), own.state_dict()
    assert all(torch.equal(state[name], truth[name]) for name in truth)


def test_the_average_is_scored(whole):
    own, _, folder = whole
    truth, fresh = trainer(enable_checkpointing=False), trainer(enable_checkpointing=False)
    scores = truth.validate(own, datamodule=data(), verbose=False)[0]
    steps = sorted(folder.glob("*.ckpt"), key=lambda file: int(file.stem.split("=")[1]))
    loaded = fresh.validate(module(), datamodule=data(), ckpt_path=steps[-1], weights_only=True, verbose=False)[0]
    assert loaded == pytest.approx(scores, abs=1e-6)
