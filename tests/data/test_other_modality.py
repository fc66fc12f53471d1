"""Texts instead of images: a data class and an encoder of one's own, by class_path; `dml` holds nothing of them."""

import sys
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from dml.cli import main
from dml.data import Batch, LabelledData, Parts
from dml.data.embedding_table import EmbeddingTable
from dml.data.samplers.base import EpochBatches
from dml.data.samplers.ordered import OrderedBatches
from dml.data.samplers.random import RandomBatches
from dml.encoders import Encoder
from dml.losses import PullLoss
from dml.modules import EmbeddingModule
from dml.runs import SCORES, read_json


class TextLoader:
    """Batches of bags of words; the addresses in its state make a resume exact."""

    def __init__(self, data: "TextData", ids: np.ndarray, batches: EpochBatches) -> None:
        self.data, self.ids, self.sampler, self.batch_sampler = data, ids, batches, None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self):
        for row in self.sampler.rows():
            ids = self.ids[row]
            yield Batch(self.data.bags[ids], self.data.labels[ids], torch.from_numpy(ids))


class TextData(LabelledData):
    """Lines `class<TAB>text` of a file; every fourth one validates.

    Args:
        file: the file.
        batch_size: texts per step.
    """

    def __init__(self, file: str, batch_size: int = 20) -> None:
        super().__init__()
        self.file, self.batch_size = file, batch_size

    def setup(self, stage: str = "fit") -> None:
        rows = [line.split("\t") for line in Path(self.file).read_text().splitlines()]
        self.texts = [text for _, text in rows]
        self.class_names = sorted({name for name, _ in rows})
        self.labels = torch.tensor([self.class_names.index(name) for name, _ in rows])
        words = sorted({word for text in self.texts for word in text.split()})
        found = [torch.tensor([words.index(word) for word in text.split()]) for text in self.texts]
        self.bags = torch.stack([one_hot(places, len(words)).sum(dim=0).float() for places in found])  # (N, V)
        self.image_shape = (len(words),)
        ids = np.arange(len(rows))
        self.parts = Parts(train=ids[ids % 4 > 0], val=ids[ids % 4 == 0], test=ids[:0])
        self.embedded = EmbeddingTable(len(rows))

    def ordered_dataloader(self, ids):
        return TextLoader(self, ids, OrderedBatches(len(ids), self.batch_size))

    def train_dataloader(self):
        train = self.parts.train
        return TextLoader(self, train, RandomBatches(len(train), self.batch_size, seed=0))

    def val_dataloader(self):
        return [self.ordered_dataloader(self.parts.val), self.ordered_dataloader(self.parts.train)]

    def names_of(self, ids):
        return np.array(self.texts)[ids]


class BagOfWordsEncoder(Encoder):
    """The mean of learnt word vectors."""

    def __init__(self, embedding_dim: int = 8) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(embedding_dim, bias=False)

    def forward(self, bags: torch.Tensor) -> torch.Tensor:
        return self.linear(bags / bags.sum(dim=1, keepdim=True))  # (B, D)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """120 texts of three subjects: five words each, most of them of the subject."""
    rng = np.random.default_rng(0)
    subjects = {
        "sea": "wave tide sail salt reef",
        "sky": "cloud wind star moon rain",
        "soil": "root seed clay worm stone",
    }
    everything = " ".join(subjects.values()).split()
    lines = []
    for _ in range(40):
        for name, words in subjects.items():
            text = [*rng.choice(words.split(), 3), *rng.choice(everything, 2)]
            lines.append(f"{name}\t{' '.join(text)}")
    (tmp_path / "texts.tsv").write_text("\n".join(lines))
    return tmp_path / "texts.tsv"


def test_texts_are_trained_on_from_the_front_door(file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "texts", sys.modules[__name__])
    words = ["--data", "texts.TextData", f"--data.file={file}", "--model", "dml.modules.EmbeddingModule"]
    words += ["--model.encoder", "texts.BagOfWordsEncoder", "--model.loss", "dml.losses.PullLoss"]
    words += [
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}",
    ]
    words += ["--trust", __name__]  # where the classes are defined, whatever name they are reached by
    assert main(["fit", *words, f"--runs_dir={tmp_path}", "--name=texts"]) == 0
    assert read_json(tmp_path / "texts" / SCORES)["val"]["knn_accuracy"] > 0.5


def test_texts_are_trained_on_by_a_plain_trainer(file: Path) -> None:
    data = TextData(str(file))
    module = EmbeddingModule(BagOfWordsEncoder(), PullLoss())
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(module, datamodule=data)
    (queries, *_), _ = data.val_dataloader()
    assert module(queries.images).shape == (20, 8)
    assert trainer.callback_metrics["train/loss"].isfinite()
