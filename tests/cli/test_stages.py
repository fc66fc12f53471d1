"""`dml stages`: encoders handed on by hash, the chain without the first stage, exact resume, mistakes in one line."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from dml import runs
from dml.encoders import encoder_hash, pretrained_encoder

pytestmark = pytest.mark.usefixtures("collected")
FILE = Path(__file__).parents[2] / "configs" / "digits" / "stages.yaml"
QUICK = ("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--trainer.accelerator=cpu")
QUICK += ("--evaluation.retrieval=false", "--checkpoint.monitor=none", "--trainer.logger=false")
QUICK += ("--trainer.enable_progress_bar=false",)
QUICK += ("--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",)


def test_the_example_runs_hands_on_verifies_and_resumes(dml):
    code, out, err = dml("stages", "--config", FILE, *QUICK)
    assert code == 0, err
    folder = Path("runs/stages")
    record = runs.read_json(folder / "stages.json")["runs"]
    assert list(record) == sorted(record)
    names = ["all-autoencode", "all-metric", "all-probe", "without_autoencode-metric", "without_autoencode-probe"]
    assert sorted(record) == names
    assert all(name in out for name in names)
    assert record["all-metric"]["encoder_from"] == {"run": names[0], "encoder": record[names[0]]["encoder"]}
    assert record["without_autoencode-metric"]["encoder_from"] is None
    assert record["all-probe"]["encoder"] == record["all-metric"]["encoder"]  # frozen
    assert record["all-metric"]["encoder"] != record["without_autoencode-metric"]["encoder"]
    protocol = runs.read_json(folder / "all-probe" / "protocol.json")
    assert protocol["encoder_from"]["encoder"] == encoder_hash(pretrained_encoder(str(folder / "all-metric")))

    content = runs.read_json(folder / "stages.json")
    last = content["runs"].pop("without_autoencode-probe")  # as if it had been stopped after its training
    runs.write_json(folder / "stages.json", content)
    code, out, err = dml("stages", "--config", FILE, *QUICK)
    assert code == 0, err
    assert out.count(" ...") == 1
    assert runs.read_json(folder / "stages.json")["runs"]["without_autoencode-probe"]["encoder"] == last["encoder"]

    code, out, err = dml("stages", "--config", FILE, *QUICK, "--json")
    assert code == 0, err
    assert json.loads(out)["runs"] == runs.read_json(folder / "stages.json")["runs"]

    content["runs"].pop("all-probe")
    runs.write_json(folder / "stages.json", content)
    path = folder / "all-metric" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    next(iter(checkpoint["state_dict"].values())).add_(1)
    torch.save(checkpoint, path)
    code, _, err = dml("stages", "--config", FILE, *QUICK)
    assert code == 2
    assert "it was changed since" in err
    code, _, err = dml("stages", "--config", FILE, *QUICK, "--trainer.max_epochs=2")
    assert code == 2
    assert "holds other stages or other keys" in err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no file stages.yaml"),
        ("stages: [", "is not valid YAML"),
        ("model: {}", "needs `stages:`"),
        ({"stages": [{"name": "a", "recipe": {"model": {}}}]}, "at least two"),
        ({"stages": [{"name": "a"}, {"name": "b"}]}, "stage 1 of stages.yaml needs a `name`"),
        ({"stages": [{"name": "a", "recipe": {"model": {}}}] * 2}, "different names"),
        ({"stages": [{"name": "a", "recipe": {"model": {}}}, {"name": "b", "recipe": {"model": {}}}]}, "no encoder"),
        ({"stages": [{"name": "a", "recipe": {}}, {"name": "b", "recipe": {}}]}, "describes no model"),
    ],
)
def test_mistakes(dml, content, told):
    if content is not None:
        Path("stages.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    code, _, err = dml("stages", "--config", "stages.yaml")
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("dml: ")]
    assert told in line
    assert not Path("runs").exists()
