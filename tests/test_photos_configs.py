"""The recipes for photographs: each trains offline from a file of weights, and its run needs that file no more."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model

from dml import runs
from dml.cli import main
from dml.cli.shared.options import as_keys, with_default
from dml.cli.trainer import TrainerCLI
from dml.encoders import LoRAEncoder, pretrained_encoder

NAMES = ("pretrained", "pretrained_unfrozen", "pretrained_lora")
QUICK = (
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--data.image_size=32",
    "--data.batch_size=8",
    "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with 24 photographs of two classes and a file of a random network's weights."""
    folder = tmp_path_factory.mktemp("place")
    generator = np.random.default_rng(0)
    for name in ("daisy", "iris"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    torch.manual_seed(0)
    torch.save(get_model("resnet18").state_dict(), folder / "resnet18.pth")
    return folder


def keys_of(name, weights):
    encoder = "--model.encoder.encoder" if name.endswith("lora") else "--model.encoder"
    return (f"{encoder}.weights={weights}", f"{encoder}.image_size=32")


def built(name, *keys):
    words = [*keys, "--trainer.accelerator=cpu", "--data.cache=false"]
    return TrainerCLI(as_keys(with_default([runs.recipe_file(f"photos/{name}")], words), words), None)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learnt_and_how_fast(name, place, monkeypatch):
    if name.endswith("lora"):
        pytest.importorskip("peft", reason="peft is an optional package")
    monkeypatch.chdir(place)
    cli = built(name, "--data.root=photos", "--data.image_size=32", *keys_of(name, "resnet18.pth"))
    module, saved = cli.model, torch.load("resnet18.pth")
    module.build((3, 32, 32))
    for key, value in module.encoder.state_dict().items():
        own = key.replace("encoder.network.", "network.").removeprefix("network.").replace(".base_layer", "")
        assert own not in saved or torch.equal(value, saved[own]), key
    groups = module.configure_optimizers()
    groups = (groups["optimizer"] if isinstance(groups, dict) else groups).param_groups
    rates = [group["lr"] for group in groups]
    learnt = {name for name, weight in module.encoder.named_parameters() if weight.requires_grad}
    if name == "pretrained":
        assert learnt == {"projection.weight", "projection.bias"}
        module.train()
        assert not any(part.training for part in module.encoder.network.modules())
    elif name == "pretrained_unfrozen":
        assert learnt == {name for name, _ in module.encoder.named_parameters()}
        assert rates == pytest.approx([1e-3, *(3e-5 * 0.8**depth for depth in range(9))])
        assert sum(len(group["params"]) for group in groups) == len(learnt)
    else:
        assert all("lora_" in name or "projection" in name for name in learnt)
        assert len(learnt) == 42


@pytest.mark.parametrize("name", ["pretrained_unfrozen", "pretrained_lora"])
def test_its_run_is_scored_exported_and_verified_from_elsewhere_without_the_file(
    name, place, tmp_path, monkeypatch, capsys
):
    for package in ("peft", "onnx", "onnxruntime", "safetensors"):
        pytest.importorskip(package, reason=f"{package} is an optional package")
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(place)
    Path("own.pth").write_bytes(Path("resnet18.pth").read_bytes())
    words = ("--config", f"photos/{name}", "--name", name, "--data.root", "photos", *QUICK, *keys_of(name, "own.pth"))
    assert main(["fit", *words]) == 0, capsys.readouterr().err
    scores = runs.read_json(Path("runs", name, "scores.json"))["val"]
    Path("own.pth").unlink()
    (tmp_path / "elsewhere" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = str(place / "runs" / name)
    capsys.readouterr()
    assert main(["validate", "--run", run, "--json"]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["scores"]["val"] == pytest.approx(scores)
    assert main(["export", run, "--out", "artefact"]) == 0, capsys.readouterr().err
    assert main(["verify", "artefact"]) == 0
    from safetensors.torch import load_file

    exported = load_file(next(Path("artefact").glob("*.safetensors")))
    assert not any("lora" in key or "base_layer" in key for key in exported)
    encoder = pretrained_encoder(run).eval()
    assert isinstance(encoder, LoRAEncoder) == (name == "pretrained_lora")


def test_weights_that_are_not_there_name_their_key(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for name, key in (("pretrained", "model.encoder.weights"), ("pretrained_lora", "model.encoder.encoder.weights")):
        code = main(["fit", "--config", f"photos/{name}", "--data.root", "photos", f"--{key}", "gone.pth"])
        err = capsys.readouterr().err
        assert code == 2
        assert err.splitlines() == [
            f"dml: {key}=gone.pth: no such file: give an existing one, `DEFAULT` to download, or none"
        ]


def test_no_network_names_the_key(place, monkeypatch, capsys, tmp_path):
    def refuse(*_, **__):
        raise OSError("<urlopen error [Errno -3] Temporary failure in name resolution>")

    monkeypatch.chdir(place)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    assert main(["fit", "--config", "photos/pretrained", "--data.root", "photos"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dml: model.encoder.weights=DEFAULT: resnet18's cannot be downloaded (<urlopen error")
    assert "give the path of a file" in line


def test_the_recipe_from_scratch_is_complete_and_needs_no_file(place, monkeypatch):
    monkeypatch.chdir(place)
    cli = built("from_scratch", "--data.root=photos")
    recipe = cli.config
    assert recipe.model.init_args.lr_scheduler.init_args.T_max == recipe.trainer.max_epochs
    assert cli.datamodule.transform is not None
