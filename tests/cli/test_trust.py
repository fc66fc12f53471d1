"""A stranger's run or recipe executes nothing: what it names is refused in one line, or never built."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from dml import runs
from dml.cli import main
from dml.cli.recipe.trust import take_trust
from dml.encoders import pretrained_encoder
from dml.errors import UserError

MARK = "executed"  # the file that an attack leaves
MODULE = f"from pathlib import Path\nPath({MARK!r}).touch()\n"
TINY = (
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--data.batch_size=500",
    "--data.classes_per_batch=null",
    "--evaluation.baselines=false",
    "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert main(["fit", *TINY, "--model.encoder.channels=[4]", "--runs_dir", str(folder), "--name", "first"]) == 0
    return folder / "first"


@pytest.fixture
def stranger(dml, trained, tmp_path, monkeypatch):
    """Return a callable that changes the recipe of a copy of the run; modules beside it can be imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def change(edit):
        run = tmp_path / "runs" / "theirs"
        shutil.copytree(trained, run)
        for record in ("scores.json", "queries_val.npz", "neighbors_val.npz"):
            (run / record).unlink()
        recipe = yaml.safe_load((run / runs.CONFIG).read_text())
        edit(recipe)
        (run / runs.CONFIG).write_text(yaml.safe_dump(recipe))
        return run

    return change


def _set(path, value):
    def edit(recipe):
        *blocks, last = path.split(".")
        for block in blocks:
            recipe = recipe[block]
        recipe[last] = value

    return edit


SYSTEM = {"class_path": "os.system", "init_args": {"command": f"touch {MARK}"}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.init_args.optimizer", SYSTEM),
        ("model.init_args.optimizer", "torch.hub.load"),
        ("model.init_args.lr_scheduler", SYSTEM),
        ("model.init_args.miner", {"class_path": "beside.Miner"}),
        ("trainer.callbacks", [SYSTEM, {"class_path": "beside.Callback"}]),
        ("trainer.logger", {"class_path": "beside.Logger"}),
        ("trainer.plugins", [SYSTEM]),
        ("trainer.profiler", SYSTEM),
        ("trainer.strategy", SYSTEM),
        ("data.transform", {"class_path": "beside.Transform"}),
        ("data.sampler", SYSTEM),
        ("data.cache_dir", "made"),
    ],
)
def test_what_no_score_depends_on_is_not_built(dml, stranger, path, value):
    Path("beside.py").write_text(MODULE)
    stranger(_set(path, value))
    code, _, err = dml("predict", "--run", "theirs")
    assert code == 0, err
    assert not Path(MARK).exists()
    assert not Path("made").exists()


LAMBDA = "torchvision.transforms.v2.Lambda"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.class_path", "beside.Module"),
        ("model.init_args.encoder", "beside.Encoder"),
        ("model.init_args.encoder", {"class_path": "beside.Encoder"}),
        ("model.init_args.encoder", {"class_path": "dml.encoders.pretrained_encoder", "init_args": {"run": "theirs"}}),
        ("model.init_args.loss", {"class_path": "beside.Loss"}),
        ("model.init_args.loss", {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "x", "model": "y"}}),
        ("model.init_args.loss", {"class_path": "torch.jit.load", "init_args": {"f": "x"}}),
        ("model.init_args.loss", {"class_path": "timm.create_model", "init_args": {"model_name": "resnet10t"}}),
        ("model.init_args.loss", "inner.yaml"),
        ("data.source", {"class_path": "beside.Source"}),
        ("data.split", "beside.Split"),
        ("data", {"class_path": "beside.Data"}),
        (
            "data.source",
            {
                "class_path": "dml.data.TorchDataset",
                "init_args": {
                    "dataset": {
                        "class_path": "torchvision.datasets.DatasetFolder",
                        "init_args": {"root": ".", "loader": "torch.os.system", "extensions": ["x"]},
                    }
                },
            },
        ),
    ],
)
def test_what_a_score_depends_on_is_of_the_libraries(dml, stranger, path, value):
    Path("beside.py").write_text(MODULE)
    Path("inner.yaml").write_text("class_path: beside.Loss\n")
    stranger(_set(path, value))
    code, _, err = dml("evaluate", "--run", "theirs")
    assert code == 2, err
    assert len([line for line in err.splitlines() if line.startswith("dml: ")]) == 1
    assert "Traceback" not in err
    assert not Path(MARK).exists()


@pytest.mark.parametrize(
    "blocks",
    [
        {"data": {"transform": {"class_path": LAMBDA, "init_args": {"lambd": "torch.os.system"}}}},
        {"data": {"transform": {"class_path": LAMBDA, "init_args": {"lambd": "torch.load"}}}},
        {"data": {"transform": {"class_path": LAMBDA, "init_args": {"lambd": "dml.runs.write_bytes"}}}},
        {
            "data": {
                "transform": {
                    "class_path": "torchvision.transforms.v2.Compose",
                    "init_args": {"transforms": [{"class_path": "beside.Transform"}]},
                }
            }
        },
        {"data": {"sampler": "torch.utils.data.datapipes.iter.FileOpener"}},
        {"trainer": {"callbacks": [{"class_path": "beside.Callback"}]}},
        {"trainer": {"logger": [{"class_path": "beside.Logger"}]}},
        {"trainer": {"callbacks": [{"class_path": "dml.experiments.jobs.RunApart"}]}},
    ],
)
def test_a_strangers_recipe_is_held_to_the_same(dml, tmp_path, monkeypatch, blocks):
    monkeypatch.syspath_prepend(tmp_path)
    Path("beside.py").write_text(MODULE)
    Path("theirs.yaml").write_text(yaml.safe_dump(blocks))
    code, _, err = dml("fit", "--config", "theirs.yaml", *TINY)
    assert code == 2, err
    assert not Path(MARK).exists()
    assert not Path("runs").exists()


def test_a_sweep_of_a_strangers_recipe_is_held_to_the_same(dml, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    Path("beside.py").write_text(MODULE)
    Path("theirs.yaml").write_text("trainer: {callbacks: [{class_path: beside.Callback}]}")
    code, _, err = dml("sweep", "--config", "theirs.yaml", *TINY, "--over", "model.loss.margin=0.1")
    assert (code, "add --trust beside" in err) == (2, True)
    assert not Path(MARK).exists()


OWN = f"""
{MODULE}
import torch
from dml.encoders import Encoder

class Plain(Encoder):
    def __init__(self, embedding_dim: int = 2):
        super().__init__()
        self.layer = torch.nn.LazyLinear(embedding_dim)

    def forward(self, images):
        return self.finish(self.layer(images.flatten(1)))
"""


def test_a_class_of_ones_own_is_trusted_as_typed_and_by_name(dml, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    Path("ownnets.py").write_text(OWN)
    code, _, err = dml("fit", *TINY, "--model.encoder", "ownnets.Plain", "--name", "mine")
    assert code == 0, err
    Path("runs/mine/scores.json").unlink()
    code, _, err = dml("validate", "--run", "mine")  # it was trained here
    assert code == 0, err
    assert pretrained_encoder("mine").layer.out_features == 64
    shutil.copytree("runs/mine", "runs/theirs")
    with Path("runs/theirs/config.yaml").open("a") as recipe:
        recipe.write("# another recipe\n")
    code, _, err = dml("validate", "--run", "theirs")
    assert code == 2
    assert re.fullmatch(r"dml: model.encoder: ownnets.Plain is not of dml, .*: .* add --trust ownnets\n", err)
    code, _, err = dml("validate", "--run", "theirs", "--trust", "ownnets")
    assert code == 0, err
    with pytest.raises(UserError, match="--trust ownnets"):
        pretrained_encoder("theirs")
    with runs.trusting("ownnets"):
        assert pretrained_encoder("theirs").layer.out_features == 64


def test_what_a_command_line_trusts():
    words = [
        "fit",
        "--trust=one",
        "--trust",
        "two.nets",
        "--data.transform={class_path: three.x.Y}",
        "--model.dim",
        "4.5",
    ]
    kept, trusted = take_trust([*words, "--model.optimizer=torch.hub.load", "--config", __file__])
    assert trusted == ["one", "two.nets", "three", "torch.hub.load"]
    assert kept[0] == "fit"
    assert not any("--trust" in word for word in kept)


@pytest.mark.parametrize(
    "words",
    [
        ("--run", "beside.first"),
        ("--run=beside.first",),
        ("--name", "beside.first"),
        ("--config", "beside.yaml"),
        ("--output", "beside.npz"),
        ("--data.root", "beside.zip"),
        ("--data.source.file", "there.csv"),
        ("--model.encoder.run", "beside.first"),
        ("beside.first",),
    ],
)
def test_names_of_runs_and_files_are_not_taken_for_class_paths(dml, words):
    Path("there.csv").touch()
    assert take_trust(["evaluate", *words])[1] == []


@pytest.mark.parametrize("path", ["os.system", "torch.hub.load", "subprocess.Popen"])
def test_nobody_is_advised_to_trust_the_system(dml, path):
    Path("theirs.yaml").write_text(f"model: {{class_path: {path}}}")
    code, _, err = dml("fit", "--config", "theirs.yaml")
    assert code == 2
    assert f"{path} is not of dml" in err
    assert "--trust" not in err


def test_an_encoder_that_is_its_own_is_told(dml, stranger):
    block = {"class_path": "dml.encoders.pretrained_encoder", "init_args": {"run": "theirs"}}
    stranger(_set("model.init_args.encoder", block))
    with pytest.raises(UserError, match="takes its encoder from itself"):
        pretrained_encoder("theirs")


@pytest.mark.parametrize("module", ["", "a b", "os;", "--run", "jsonargparse"])
def test_a_wrong_module_is_told(dml, module):
    code, _, err = dml("fit", f"--trust={module}")
    assert (code, len(err.splitlines())) == (2, 1)


def test_settings_of_the_parser_are_put_back():
    from jsonargparse import _common

    before = dict(_common.parsing_settings)
    with runs.guarded_imports():
        assert _common.parsing_settings != before
    assert _common.parsing_settings == before


def test_every_recipe_of_this_repository_names_classes_of_the_libraries():
    paths = set()
    for file in (Path(__file__).parents[2] / "configs").rglob("*.yaml"):
        paths |= set(re.findall(r"class_path: ([\w.]+)", file.read_text()))
    assert len(paths) > 20
    for path in paths:
        runs.check_classes({"class_path": path})


def test_no_miner_has_weights():
    from pytorch_metric_learning import miners
    from pytorch_metric_learning.miners import BaseMiner

    kinds = [kind for kind in vars(miners).values() if isinstance(kind, type) and issubclass(kind, BaseMiner)]
    assert len(kinds) > 8  # a miner is left out when a run is scored
    for kind in kinds:
        if kind.__name__ not in {"BaseMiner", "BaseTupleMiner", "BaseSubsetBatchMiner"}:
            needed = {"EmbeddingsAlreadyPackagedAsTriplets": (), "MaximumLossMiner": None}
            if needed.get(kind.__name__, ()) is not None:
                try:
                    miner = kind()
                except TypeError:
                    miner = kind(1)
                assert not miner.state_dict()
