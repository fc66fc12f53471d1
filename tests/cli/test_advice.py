"""What is advised after a run that learnt nothing runs as it stands."""

import shlex
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import get_model

from dml import runs
from dml.cli.shared.advice import advice


class Data:
    image_shape, transformed, scale = (3, 64, 64), True, (0.5, 0.5)


def test_a_schedule_gets_longer_with_its_training():
    schedule = "model.init_args.lr_scheduler.init_args."
    found = advice(Path("a b/x/config.yaml"), {"trainer.max_epochs": 5, f"{schedule}total_steps": 50}, Data())
    longer = dict(zip(*2 * [iter(shlex.split(found[0])[2:])], strict=True))
    assert longer["--config"] == "a b/x/config.yaml"
    assert longer["--runs_dir"] == "a b"
    assert (longer["--trainer.max_epochs"], longer["--model.lr_scheduler.total_steps"]) == ("20", "200")


def test_what_would_change_nothing_is_not_advised():
    timed = {"trainer.max_epochs": 5, "trainer.max_time": "00:01:00:00"}
    large = {"model.init_args.encoder.class_path": "dml.encoders.TimmEncoder"}
    assert advice(Path("runs/x/config.yaml"), timed | large, Data()) == []


def test_every_command_runs(dml):
    generator = np.random.default_rng(0)
    for number in range(40):
        path = Path("photos", "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (48, 48, 3), np.uint8)).save(path)
    Path("recipe.yaml").write_text(
        "model: {class_path: dml.modules.EmbeddingModule, init_args: {encoder: {class_path: dml.encoders.ConvEncoder,"
        " init_args: {embedding_dim: 4, channels: [4], dropout: 0.1}},"
        " loss: {class_path: dml.losses.TripletLoss, init_args: {margin: 0.5}},"
        " optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}, lr_interval: step, lr_scheduler:"
        " {class_path: torch.optim.lr_scheduler.OneCycleLR, init_args: {max_lr: 0.01, total_steps: 2}}}}\n"
        "data: {root: photos, batch_size: 12, mean: 0.4, std: 0.3}\n"
        "trainer: {max_epochs: 1, accelerator: cpu}\n"
        "pictures: {projection: none, gallery_queries: 1, gallery_neighbors: 1}\n"
    )
    code, out, err = dml("fit", "--config", "recipe.yaml", "--name", "noise", "--runs_dir", "my runs")
    assert code == 0, err
    commands = [line.strip() for line in out.partition("To try next:\n")[2].splitlines() if line.startswith("  dml")]
    names = [shlex.split(command)[7] for command in commands]
    assert names == ["noise-longer", "noise-augmented", "noise-pretrained"]
    torch.save(get_model("resnet18").state_dict(), "resnet18.pth")
    for command, name in zip(commands, names, strict=True):
        words = [
            "resnet18.pth" if word == "DEFAULT" else "48" if word == "224" else word for word in shlex.split(command)
        ]
        small = ["--model.encoder.image_size", "48"] if "resnet18" in words else []
        code, _, err = dml(*words[1:], *small)
        assert code == 0, err
        assert (Path("my runs") / name / "scores.json").exists()
    recipe = runs.read_recipe(Path("my runs") / names[0])
    assert recipe["model"]["init_args"]["lr_scheduler"]["init_args"]["total_steps"] == 8
