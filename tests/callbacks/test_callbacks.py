"""Callbacks: every sample once, the right neighbours in pictures, the collapse told once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import MultiSimilarityLoss

from dml.callbacks import KNNEvaluation, RandomState
from dml.callbacks.collector import Collector
from dml.callbacks.pictures import _half_worst
from dml.data import Batch
from dml.encoders import FlattenEncoder
from dml.losses import TripletLoss
from dml.modules import EmbeddingModule

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def _batch(ids, labels):
    return Batch(torch.zeros(len(ids), 1, 2, 2), torch.tensor(labels), torch.tensor(ids))


def test_samples_are_kept_once_and_ordered_by_id():
    collector = Collector()
    collector.add(torch.tensor([[3.0], [1.0]]), _batch([3, 1], [0, 1]))
    collector.add(torch.tensor([[2.0], [3.0]]), _batch([2, 3], [1, 0]))  # 3 again, as padding
    rows = collector.collect()
    assert rows.ids.tolist() == [1, 2, 3]
    assert rows.embeddings.flatten().tolist() == [1.0, 2.0, 3.0]
    assert rows.labels.tolist() == [1, 1, 0]


_LOOP = """
import re, torch
from pathlib import Path
from torch import nn
from dml.callbacks.collector import Collector
from dml.data import Batch
held = lambda: int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
layers = nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
encoder, collector = nn.Sequential(*layers, nn.Linear(16, 64)), Collector()
with torch.no_grad():
    for i in range(60):
        ids = torch.arange(32) + 32 * i
        batch = Batch(torch.full((32, 3, 224, 224), 7, dtype=torch.uint8) - torch.zeros(3, 1, 1), ids, ids)
        collector.add(encoder(batch.images), batch)
        before = held() if i == 10 else before if i > 10 else 0
print(held() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not tell a process's memory")
def test_embeddings_that_are_kept_do_not_cut_up_the_memory_of_the_images():
    told = subprocess.run([sys.executable, "-c", _LOOP], capture_output=True, text=True, check=True, env=ONE_THREAD)
    assert float(told.stdout) < 100  # MiB; 18 a batch when every batch's rows were kept apart


def test_half_of_the_gallery_are_the_worst_queries():
    right = np.ones((10, 4), dtype=bool)
    right[6, :3] = False
    right[3, 0] = False
    assert _half_worst(right, 4).tolist() == [0, 9, 6, 3]
    assert sorted(_half_worst(right[:2], 8).tolist()) == [0, 1]


def test_baselines_and_random_state_travel_with_the_checkpoint():
    scored = KNNEvaluation()
    scored.baselines = {"pixels": {"val": {"map_at_r": 0.5}}}
    resumed = KNNEvaluation()
    resumed.load_state_dict(scored.state_dict())
    assert resumed.baselines == scored.baselines
    state = RandomState().state_dict()
    expected = torch.rand(4)
    callback = RandomState()
    callback.load_state_dict(state)
    torch.rand(9)  # building a model draws numbers
    callback.on_train_start(None, None)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("keys", "unit", "warned"), [({}, False, True), ({"metric": "cosine"}, False, False), ({}, True, False)]
)
def test_a_loss_that_normalises_is_not_scored_by_another_distance_without_a_word(caplog, keys, unit, warned):
    module = EmbeddingModule(FlattenEncoder(normalize=unit), MultiSimilarityLoss())
    KNNEvaluation(**keys)._check_metric(module)
    assert ("set evaluation.metric to cosine" in caplog.text) == warned
    caplog.clear()
    KNNEvaluation()._check_metric(EmbeddingModule(FlattenEncoder(), TripletLoss(0.1)))
    assert not caplog.text
