import json
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser

from dml.data import ImageData
from dml.data.splits.splits import Split
from dml.encoders import TorchvisionEncoder
from dml.errors import UserError
from dml.modules.checks import check_scale

FILES = sorted((Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))


def build(*words: str) -> ImageData:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ImageData, "data", fail_untyped=False)
    parser.add_argument("--config", action="config")
    return parser.instantiate(parser.parse_args([*words])).data


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_data_recipe_is_parsed_and_built(file: Path) -> None:
    data = build("--config", str(file))
    assert isinstance(data.split, Split)
    assert (data.source is None) == (file.stem in ("folder", "flowers12"))


@pytest.fixture(scope="module")
def pretrained() -> TorchvisionEncoder:
    return TorchvisionEncoder("resnet18")


@pytest.mark.parametrize("stem", ["cub200", "cars196", "sop", "inshop", "aircraft", "flowers102"])
def test_recipes_of_photographs_leave_normalisation_to_pretrained_encoders(stem: str, pretrained) -> None:
    check_scale(pretrained, build("--config", str(FILES[0].parent / f"{stem}.yaml")))
    with pytest.raises(UserError, match="normalises images itself"):
        check_scale(pretrained, build("--config", str(FILES[0].parent / "cifar10.yaml")))


def test_keys_win_over_files() -> None:
    digits = str(FILES[0].parent / "digits.yaml")
    transform = ("--data.transform", "dml.data.Augmentation", "--data.transform.rotate", "5")
    data = build("--config", digits, "--data.batch_size", "50", *transform, "--data.split.val", "0.3")
    assert data.transform.rotate == 5
    assert data.split.val == 0.3
    data.setup()
    assert next(iter(data.train_dataloader())).images.shape == (50, 1, 8, 8)


@pytest.mark.parametrize(
    "word",
    [
        "--data.batch_sise=3",
        "--data.on_error=maybe",
        "--data.root=a --data.transform=dml.data.Augmentation --data.transform.flop=1",
    ],
)
def test_misspelt_keys_and_values_are_refused(word: str) -> None:
    with pytest.raises(Exception, match=r"batch_sise|on_error|flop"):
        build(*word.split())


def test_points_and_small_omniglot_run_a_batch(real_data: Path) -> None:
    folder = FILES[0].parent
    zips = [str(real_data / "omniglot" / f"images_background_small{i}.zip") for i in (1, 2)]
    data = build("--config", str(folder / "omniglot_small1.yaml"), "--data.source.root", zips[0])
    data.setup()
    assert next(iter(data.train_dataloader())).images.shape == (128, 1, 28, 28)
    assert len(data.val_dataloader()) == 1


def test_a_sampler_is_chosen_by_its_class_path() -> None:
    words = ("--data.sampler.m=4", "--data.sampler.batch_size=20", "--data.sampler.length_before_new_iter=100")
    data = build("--data.sampler", "pytorch_metric_learning.samplers.MPerClassSampler", *words)
    data.setup()
    assert [len(batch.labels) for batch in data.train_dataloader()] == [20] * 5


@pytest.mark.parametrize("per_image", [False, True])
def test_a_transform_of_another_library_is_chosen_by_its_class_path(per_image: bool) -> None:
    v2 = "torchvision.transforms.v2"
    steps = [{"class_path": f"{v2}.RandomRotation", "init_args": {"degrees": 20}}, {"class_path": f"{v2}.RandomCrop"}]
    steps[1]["init_args"] = {"size": [8, 8], "padding": 1}
    block = {"class_path": f"{v2}.Compose", "init_args": {"transforms": steps}}
    if per_image:
        block = {"class_path": "dml.data.PerImage", "init_args": {"transform": block}}
    data = build(f"--data.transform={json.dumps(block)}")
    data.setup()
    (first, *_), (again, *_) = data.train_dataloader(), data.train_dataloader()
    assert torch.equal(first.images, again.images)
    assert data.transformed
