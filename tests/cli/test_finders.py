"""Lightning's finders within a run, with class-balanced batches; and scores that vanish on the way."""

from pathlib import Path

import pytest
import torch

from dml import runs

FINDER = "lightning.pytorch.callbacks."
QUICK = ("--model.encoder.channels=[4]", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
QUICK += (
    "--trainer.accelerator=cpu",
    "--evaluation.baselines=false",
    "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
)
PLAIN = [
    "ignore:When using the learning rate finder",
    "ignore:The number of training batches",
    "ignore:.*weights_only.*",
]


@pytest.mark.parametrize("classes", ["auto", "10"])
def test_a_run_with_both_finders_is_trained_and_scored(dml, classes):
    Path("recipe.yaml").write_text(
        f"trainer: {{callbacks: [{{class_path: {FINDER}LearningRateFinder, init_args: {{num_training_steps: 12}}}},"
        f" {{class_path: {FINDER}BatchSizeFinder, init_args: {{init_val: 20, max_trials: 3, steps_per_trial: 1}}}}]}}\n"
    )
    words = ("--config", "recipe.yaml", "--data.classes_per_batch", classes, *QUICK)
    code, _, err = dml("fit", "--name", "first", *words)
    assert code == 0, err
    assert runs.read_scores(Path("runs/first/scores.json"))["val"]["map_at_r"] > 0
    state = torch.load("runs/first/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 14  # an epoch of 1,079 images in batches of 80, the size that was found
    assert not list(Path().glob("**/.lr_find*")) + list(Path().glob("**/.scale_batch*"))


@pytest.mark.filterwarnings("ignore:val/loss is left out")
def test_an_early_stopping_score_that_a_loss_cannot_give_is_told_in_one_line(dml):
    loss = ("--model.loss", "pytorch_metric_learning.losses.SmoothAPLoss", "--evaluation.metric=cosine")
    stop = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/loss")
    code, _, err = dml("fit", "--name", "first", *loss, *stop, *QUICK)
    assert code == 2
    assert "EarlyStopping.monitor='val/loss' was not logged by this run" in err
    assert "Traceback" not in err
    assert (Path("runs/first/checkpoints") / "best.ckpt").exists()
