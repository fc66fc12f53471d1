"""The recipes in configs/mnist are parsed and built, and run a batch on the digits that ship with scikit-learn."""

from pathlib import Path

import pytest
import yaml

from dml.cli import main
from dml.cli.trainer import TrainerCLI
from dml.data import ImageData
from dml.modules import AutoencoderModule, ClassifierModule

FILES = sorted((Path(__file__).parents[1] / "configs" / "mnist").glob("*.yaml"))
SCRATCH = ("--model.encoder=dml.encoders.StridedConvEncoder", "--model.encoder.embedding_dim=15")  # no run is at hand


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_recipe_is_parsed_and_built(file):
    transfer = file.stem == "transfer_head"
    cli = TrainerCLI(["--config", str(file), *(SCRATCH if transfer else ())], None)
    assert isinstance(cli.model, ClassifierModule if transfer else AutoencoderModule)
    assert isinstance(cli.datamodule, ImageData)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_schedule_is_as_long_as_the_training(file):
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    schedule = recipe["model"]["init_args"].get("lr_scheduler")
    if schedule is None:
        return
    data = recipe["data"]
    steps = int((1 - data["split"]["init_args"]["val"]) * 60_000) // data["batch_size"]
    assert schedule["init_args"]["total_steps"] == recipe["trainer"]["max_epochs"] * steps
    assert schedule["init_args"]["max_lr"] == recipe["model"]["init_args"]["optimizer"]["init_args"]["lr"]


@pytest.mark.parametrize("name", ["autoencoder_small", "autoencoder_conv"])
def test_one_of_each_kind_runs_a_batch(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (file,) = [file for file in FILES if file.stem == name]
    digits = ("--data.source=dml.data.Digits", "--data.split=dml.data.StratifiedSplit", "--data.batch_size=64")
    quick = ("--trainer.fast_dev_run=true", "--trainer.limit_val_batches=1", "--trainer.accelerator=cpu")
    assert main(["fit", "--config", str(file), *digits, *quick]) == 0
    assert not Path("runs").exists()
