"""Keys that name objects: nested ones of other libraries, and classes that replace a recipe's."""

from contextlib import nullcontext

import pytest

from dml.cli import main
from dml.cli.recipe.nested import nest_classes
from dml.cli.shared.options import as_keys, with_default
from dml.cli.trainer import TrainerCLI
from dml.errors import UserError

PEER = "pytorch_metric_learning"
LOSS = f"--model.loss={PEER}.losses."


def parsed(*keys):
    words = [*keys, "--data.cache=false", "--trainer.accelerator=cpu"]
    return TrainerCLI(as_keys(with_default([], words), words), None)


def test_nested_objects_of_another_library_are_objects():
    distance = ["--model.loss.distance", f"{PEER}.distances.LpDistance", "--model.loss.distance.p", "1"]
    reducer = [f"--model.loss.reducer={PEER}.reducers.ThresholdReducer", "--model.loss.reducer.low=0.25"]
    loss = parsed(f"{LOSS}ContrastiveLoss", *distance, *reducer).model.loss
    assert (type(loss.distance).__name__, loss.distance.p) == ("LpDistance", 1)
    assert loss.reducer.reducers["pos_loss"].low == 0.25


def test_objects_nest_twice():
    memory = [f"{LOSS}CrossBatchMemory", "--model.loss.memory_size=64"]
    inner = [f"--model.loss.loss={PEER}.losses.ContrastiveLoss", "--model.loss.loss.pos_margin=0.1"]
    loss = parsed(*memory, *inner, f"--model.loss.loss.distance={PEER}.distances.SNRDistance").model.loss
    assert type(loss.loss.distance).__name__ == "SNRDistance"
    assert (loss.loss.pos_margin, loss.embedding_memory.shape[1]) == (0.1, 64)


def test_what_names_no_nested_class_is_left_alone():
    for keys in (
        ["--data.root", "photos", "--trainer.fast_dev_run"],
        ["--model.loss", "dml.losses.TripletLoss", "--model.loss.mining", "all"],
        ["--model.loss.class_path=dml.losses.TripletLoss", "--model.loss.init_args.margin=1"],
        ["--help_all"],
        ["-5", "word"],
    ):
        assert nest_classes(keys) == keys


def test_another_loss_takes_no_margin_over():
    assert parsed(f"{LOSS}ArcFaceLoss").model.loss.margin == pytest.approx(0.499, abs=0.01)  # 28.6 degrees in radians
    assert parsed(f"{LOSS}TripletMarginLoss").model.loss.margin == 0.05
    assert parsed(f"{LOSS}TripletMarginLoss", "--model.loss.margin=0.3").model.loss.margin == 0.3
    assert parsed("--model.loss=dml.losses.TripletLoss").model.loss.margin == 0.5  # the recipe's own


def test_another_split_takes_nothing_over_from_a_file(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("data: {split: {class_path: dml.data.StratifiedSplit, init_args: {val: 0.4, test: 0.3}}}")
    words = ["--data.split", "dml.data.FoldSplit", "--data.cache=false"]
    split = TrainerCLI(as_keys(with_default([str(file)], words), words), None).datamodule.split
    assert type(split).__name__ == "FoldSplit"
    assert getattr(split, "test", 0) != 0.3


def test_an_encoder_keeps_the_size_of_its_embedding():
    assert parsed("--model.encoder=dml.encoders.MLPEncoder").model.encoder.layers[-1].out_features == 64


def test_what_a_loss_cannot_do_without_is_asked_for():
    with pytest.raises(UserError, match=r"RankedListLoss needs margin and Tn: give --model.loss.margin and --mo"):
        parsed(f"{LOSS}RankedListLoss")


@pytest.mark.parametrize("name", ["LiftedStructureLoss", "SmoothAPLoss"])
def test_losses_that_list_tuples_or_ask_for_equal_classes_get_through_a_validation(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    quick = ("--trainer.fast_dev_run=2", "--trainer.accelerator=cpu", "--evaluation.baselines=false")
    with pytest.warns(UserWarning, match="val/loss is left out") if name == "SmoothAPLoss" else nullcontext():
        assert main(["fit", f"{LOSS}{name}", "--evaluation.metric=cosine", *quick]) == 0, capsys.readouterr().err
