"""A loss with proxies is told the data's classes and the embedding's size, unless the recipe says them."""

import pytest

from dml.cli import main
from dml.cli.trainer import TrainerCLI
from dml.errors import UserError

PROXIES = "--model.loss=pytorch_metric_learning.losses."
KEYS = ("--data.cache=false", "--trainer.accelerator=cpu", "--model.encoder=dml.encoders.MLPEncoder")


def _parsed(loss, *keys):
    words = ["--model=dml.modules.EmbeddingModule", *KEYS, f"{PROXIES}{loss}", *keys]
    return TrainerCLI(words, None)


@pytest.mark.parametrize("loss", ["ProxyAnchorLoss", "ProxyNCALoss", "NormalizedSoftmaxLoss", "SubCenterArcFaceLoss"])
def test_what_the_recipe_leaves_open_is_filled_in(loss):
    cli = _parsed(loss, "--model.encoder.embedding_dim=6")
    told = cli.config.model.init_args.loss.init_args
    assert (told.num_classes, told.embedding_size) == (10, 6)
    assert sum(weight.numel() for weight in cli.model.loss.parameters()) % 60 == 0
    cli.datamodule.setup()
    assert cli.datamodule.num_classes == cli.datamodule.num_labels == 10  # as they were counted before


def test_what_the_recipe_says_stands():
    cli = _parsed("ProxyAnchorLoss", "--model.encoder.embedding_dim=6", "--model.loss.num_classes=12")
    assert cli.config.model.init_args.loss.init_args.num_classes == 12


def test_our_own_proxies_are_told_too_through_an_encoder_around_another():
    views = ("--model=dml.modules.EmbeddingModule", "--model.encoder=dml.encoders.ViewAveragedEncoder")
    inner = ("--model.encoder.encoder=dml.encoders.MLPEncoder", "--model.encoder.encoder.embedding_dim=6")
    cli = TrainerCLI([*views, *inner, "--model.loss=dml.losses.ProxyContrastiveLoss", "--data.cache=false"], None)
    assert cli.model.loss.proxies.shape == (10, 6)


def test_proxies_are_as_many_as_a_transform_makes_labels():
    turned = ("--data.transform=dml.data.RotationClasses", "--data.transform.mirror=true")
    keys = ("--model.encoder.embedding_dim=6", *turned)
    assert _parsed("ProxyAnchorLoss", *keys).model.loss.num_classes == 80
    few = _parsed("ProxyAnchorLoss", *keys, "--model.loss.num_classes=10")
    few.datamodule.setup()
    few.trainer.datamodule = few.datamodule
    few.model.trainer = few.trainer
    with pytest.raises(UserError, match=r"80, which data\.transform makes of 10: set model\.loss\.num_classes to 80"):
        few.model.setup("fit")


def test_a_size_that_is_not_told_is_asked_for():
    flat = ("--model=dml.modules.EmbeddingModule", "--model.encoder=dml.encoders.FlattenEncoder")
    with pytest.raises(UserError, match=r"ProxyAnchorLoss needs embedding_size, .*: give --model.loss.embedding_size"):
        TrainerCLI([*flat, f"{PROXIES}ProxyAnchorLoss", "--data.cache=false"], None)


def test_two_losses_that_do_not_tell_their_classes_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for loss in ("ProxyNCALoss", "NormalizedSoftmaxLoss"):
        quick = ("--trainer.fast_dev_run=2", "--evaluation.baselines=false", "--evaluation.metric=cosine")
        assert main(["fit", f"{PROXIES}{loss}", "--trainer.accelerator=cpu", *quick]) == 0, capsys.readouterr().err
