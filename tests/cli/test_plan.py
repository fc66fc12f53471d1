"""`dml plan`: what it tells of a small recipe, and what it refuses."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from dml.cli.running import rehearsal
from dml.encoders import ConvEncoder
from dml.experiments.plan import Estimate, Forecast, Schedule, check_fits, estimate, triplets
from dml.experiments.plan.clock import Epoch


def test_it_tells_steps_triplets_and_costs_and_leaves_nothing(dml, small):
    code, out, err = dml("plan", *small, "--data.batch_size=60", "--data.classes_per_batch=10")
    assert code == 0, err
    rows = dict(
        re.split(" +", line, maxsplit=1) for line in out.splitlines() if re.match("step|memory|time|eval", line)
    )
    assert rows["step"].startswith("60 images, 16,200 triplets; 19 steps an epoch, 2 epochs")  # 60 · 5 · 54
    assert re.fullmatch(r"\d.* estimated, \d.* measured", rows["memory"])
    assert re.fullmatch(r"\d.* a step estimated, \d.* measured", rows["time"])
    assert rows["evaluation"].endswith(" each, 2 while training")
    assert "in all" in out
    assert not list(Path().glob("runs*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--memory", "1MiB"), "which is below a step of one image: give more memory"),
        (("--memory", "much"), "--memory"),
        (("--trainer.accelerator", "cuda"), "cuda|CUDA|GPU"),
        (("--data.root", "missing"), "missing"),
    ],
)
def test_a_mistake_is_one_line(dml, words, told):
    if words[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is such a device")
    code, _, err = dml("plan", *words)
    lines = [line for line in err.splitlines() if line.startswith("dml: ")]
    assert (code, len(lines)) == (2, 1)
    assert re.search(told, lines[0])


def test_the_estimate_counts_weights_and_activations():
    layers = nn.Sequential(nn.Linear(8, 16, bias=False), nn.ReLU(), nn.Linear(16, 4, bias=False))
    found = estimate(layers, (8,))
    assert found.fixed_bytes == 4 * 4 * (8 * 16 + 16 * 4)
    assert found.image_bytes == 4 * (8 + 16)  # the first layer's input; what ReLU gives, kept once for both
    assert found.passes == 3
    conv = ConvEncoder(embedding_dim=8, channels=[4, 8])
    conv(torch.zeros(2, 1, 8, 8))
    assert estimate(conv, (1, 8, 8)).image_bytes > 4 * 4 * 8 * 8


def test_an_estimate_leaves_statistics_and_later_draws_as_they_are():
    network = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    estimate(network, (8,))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training


def test_a_forecast_is_what_was_rehearsed_where_steps_take_what_they_take():
    epochs = [Epoch([0.5, 0.1, 0.1, 0.1], [True, False, True, False], 0.9, 2.0) for _ in range(3)]
    found = Forecast.of(epochs)
    schedule = Schedule.of(10, -1, 4, every=2, interval=1.0, log_every=50)
    assert (schedule.total, schedule.validations, schedule.logged) == (40, 5, 30)
    # an epoch is its steps and what begins and ends it
    assert found.training(schedule) == pytest.approx(10 * 0.9 + 5 * 2.0, abs=1e-9)
    assert found.training(schedule, processes=2) == pytest.approx(10 * 0.9 + 5 * 1.0, abs=1e-9)


@pytest.mark.parametrize("patience", [0.0, 30.0])
def test_an_evaluation_that_takes_long_is_rehearsed_in_training_only(dml, small, monkeypatch, patience):
    monkeypatch.setattr(rehearsal, "_PATIENCE", patience)
    code, out, err = dml("plan", *small, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["seconds"] == pytest.approx(
        found["before_training_seconds"] + found["training_seconds"] + found["after_training_seconds"]
    )
    assert (found["after_training_seconds"] == pytest.approx(found["evaluation_seconds"], rel=0.5)) or patience


def test_what_does_not_fit_names_the_key_and_the_size_that_does():
    found = Estimate(fixed_bytes=100, image_bytes=10)
    check_fits(found, 50, 20, 20, 350, chunks=False)
    with pytest.raises(ValueError, match=r"a step of 20 images .*: give --data.batch_size 19$"):
        check_fits(found, 50, 20, 20, 349, chunks=False)
    with pytest.raises(ValueError, match=r"--model.chunk_size 19 \(the same gradient\) or --data.batch_size 19$"):
        check_fits(found, 50, 20, 20, 349, chunks=True)


def test_triplets_are_those_of_a_loop():
    labels = torch.tensor([0, 1, 1, 2, 0, 0, 1])
    at = range(len(labels))
    counted = sum(
        bool(labels[a] == labels[p] and a != p and labels[a] != labels[n]) for a in at for p in at for n in at
    )
    assert triplets(labels) == counted
