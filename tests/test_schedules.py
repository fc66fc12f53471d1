"""The schedule against the trapezoid it is said to be, and the length that the trainer tells it."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback

from dml.data import ImageData, StratifiedSplit
from dml.encoders import LinearEncoder
from dml.errors import UserError
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule
from dml.optimizers import NesterovSGD
from dml.schedules import WarmupDecay


def rates(length, **keys):
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (1.0, 0.1)], lr=1.0)
    schedule = WarmupDecay(optimizer, length=length, **keys)
    found = []
    for _ in range(length):
        found.append(tuple(group["lr"] for group in optimizer.param_groups))
        optimizer.step()
        schedule.step()
    return found, schedule.get_last_lr()


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
def test_rates_follow_the_formula(decay):
    found, last = rates(20, warmup=0.25, decay=decay, start=0.2, final=0.1)
    assert [a for a, _ in found[:6]] == pytest.approx([0.2, 0.36, 0.52, 0.68, 0.84, 1.0])
    middle = {"linear": 0.9 * 2 / 3 + 0.1, "cosine": 0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2, "constant": 1.0}
    assert found[10][0] == pytest.approx(middle[decay])
    assert last[0] == pytest.approx(1.0 if decay == "constant" else 0.1)
    assert [b for _, b in found] == pytest.approx([a / 10 for a, _ in found])


def fit(interval, lr_scheduler, **keys):
    module = EmbeddingModule(
        LinearEncoder(2),
        TripletLoss(0.2),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
        lr_scheduler=lr_scheduler,
        lr_interval=interval,
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(enable_model_summary=False, num_sanity_val_steps=0, **quiet, **keys)
    trainer.fit(module, datamodule=ImageData(split=StratifiedSplit(val=100, test=0), batch_size=400))
    return trainer


@pytest.mark.parametrize(
    ("interval", "keys", "length"),
    [
        ("step", {"max_epochs": 3}, 15),
        ("step", {"max_epochs": 3, "accumulate_grad_batches": 2}, 9),
        ("step", {"max_steps": 7}, 7),
        ("epoch", {"max_epochs": 3}, 3),
    ],
)
def test_the_trainer_tells_the_length(interval, keys, length):
    trainer = fit(interval, lambda optimizer: WarmupDecay(optimizer, warmup=0.0, decay="linear", final=0.5), **keys)
    schedule = trainer.lr_scheduler_configs[0].scheduler
    assert schedule.length == length
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5e-3)  # reached at the end, not passed


@pytest.mark.parametrize(("epochs", "first"), [(1, 1.0), (2, 1.0), (4, 0.5)])
def test_no_whole_epoch_is_spent_at_rate_0(epochs, first):
    def schedule(optimizer):
        return WarmupDecay(optimizer, warmup=0.5, decay="constant")

    seen = []
    watch = LambdaCallback(
        on_train_epoch_start=lambda trainer, _: seen.append(trainer.optimizers[0].param_groups[0]["lr"])
    )
    fit("epoch", schedule, max_epochs=epochs, callbacks=[watch])
    assert seen == pytest.approx([1e-3 * first] + [1e-3] * (epochs - 1))


def test_a_training_without_a_length_is_told():
    with pytest.raises(UserError, match=r"set trainer\.max_epochs or trainer\.max_steps"):
        fit("step", WarmupDecay, max_epochs=-1, max_time="00:00:00:01")


def test_biases_have_a_rate_of_their_own_and_the_same_decay():
    layer, plain = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    plain.load_state_dict(layer.state_dict())
    ours = NesterovSGD(layer.parameters(), lr=0.1, momentum=0.8, weight_decay=0.01, bias_lr_scale=4.0)
    theirs = [
        torch.optim.SGD([plain.weight], lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=True),
        torch.optim.SGD([plain.bias], lr=0.4, momentum=0.8, weight_decay=0.0025, nesterov=True),
    ]
    for step in range(3):
        for network, optimizers in ((layer, [ours]), (plain, theirs)):
            for optimizer in optimizers:
                optimizer.zero_grad()
            network(torch.full((5, 2), step + 1.0)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
    torch.testing.assert_close(layer.weight, plain.weight)
    torch.testing.assert_close(layer.bias, plain.bias)


def test_groups_keep_their_own_rates():
    head, body = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    groups = [{"params": head.parameters()}, {"params": body.parameters(), "lr": 0.01}]
    optimizer = NesterovSGD(groups, lr=0.1, bias_lr_scale=2.0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.2, 0.01, 0.02])
    alone = [{"params": head.weight}, {"params": head.bias, "lr": 0.3}]
    assert [g["lr"] for g in NesterovSGD(alone, lr=0.1, bias_lr_scale=2.0).param_groups] == pytest.approx([0.1, 0.6])
    named = NesterovSGD(head.named_parameters(), lr=0.1, bias_lr_scale=2.0).param_groups
    assert [(group["lr"], group["param_names"]) for group in named] == [(0.1, ["weight"]), (0.2, ["bias"])]
