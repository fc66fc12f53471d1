"""Several processes share an evaluation: each embeds its part, all rank together, and the scores keep their bytes."""

import json
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from dml.callbacks import KNNEvaluation
from dml.data import ClassDisjointSplit, ImageData, StratifiedSplit
from dml.encoders import Encoder
from dml.heads import LinearHead
from dml.modules import ClassifierModule

SPLITS = {
    "references apart": StratifiedSplit(val=0.3, test=0.2),
    "leave-one-out": ClassDisjointSplit(val=3, test=3),
}


class CountingEncoder(Encoder):
    """A fixed projection that counts the images it embeds."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(64, 5, generator=torch.Generator().manual_seed(0)))
        self.seen = 0

    def forward(self, images):
        self.seen += len(images) * bool(images.any())  # what fixes the sizes does not count
        return self.finish(images.flatten(1) @ self.weight)


def evaluate_all(rank, size, folder):
    for name in SPLITS:
        evaluate(rank, size, folder, name)


def evaluate(rank, size, folder, name):
    data = ImageData(split=SPLITS[name], eval_batch_size=50, seed=1)
    encoder, evaluation = CountingEncoder(), KNNEvaluation(baselines=False)
    module = ClassifierModule(encoder, LinearHead(10))
    with torch.no_grad():
        module.head(torch.zeros(1, 5))
        for p in module.head.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", devices=1, callbacks=[evaluation], **quiet)
    if size > 1:  # the processes are there already: Lightning would start them by the command line
        kind = type(trainer.strategy)
        shared = {name: property(lambda self, n=n: n) for name, n in (("world_size", size), ("global_rank", rank))}
        trainer.strategy.__class__ = type(kind.__name__, (kind,), shared)
    trainer.validate(module, datamodule=data, verbose=False)
    scores = {key: float(value) for key, value in trainer.callback_metrics.items()}
    found = {"scores": scores, "seen": encoder.seen}
    Path(folder, f"{name}-{size}-{rank}.json").write_text(json.dumps(found, sort_keys=True))


def test_scores_are_the_same_on_1_2_and_3_processes_and_the_forward_count_falls(tmp_path, in_group):
    evaluate_all(0, 1, str(tmp_path))
    for size in (2, 3):
        in_group(evaluate_all, size, str(tmp_path))
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert len(found) == 6 * len(SPLITS)
    for name in SPLITS:
        alone = found[f"{name}-1-0"]
        assert {"val/loss", "val/accuracy", "val/map_at_r"} <= alone["scores"].keys()
        for size in (2, 3):
            shared = [found[f"{name}-{size}-{rank}"] for rank in range(size)]
            assert all(each["scores"] == alone["scores"] for each in shared)
            seen = [each["seen"] for each in shared]
            assert sum(seen) == alone["seen"]  # each image is embedded once
            assert max(seen) <= alone["seen"] / size + 2 * 50
