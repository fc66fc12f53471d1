"""Callbacks: every sample once, the right neighbours in pictures, the collapse told once."""

import numpy as np
import pytest
import torch
from torch import nn

from dml.callbacks import CollapseWatch, KNNEvaluation, RandomState
from dml.callbacks.collector import Collector
from dml.callbacks.evaluation import Embedded
from dml.callbacks.pictures import _half_worst, _spread_evenly, _without_self
from dml.data import Batch


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


def test_a_query_is_no_neighbour_of_its_own_by_identity():
    reference_ids = torch.tensor([10, 11, 12, 13])
    found = torch.tensor([[0, 1, 2], [3, 1, 0], [2, 3, 1]])
    distances = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 2.0], [0.5, 1.0, 2.0]])
    near, rows = _without_self(distances, found, reference_ids, torch.tensor([11, 13, 99]))
    assert rows.tolist() == [[0, 2], [1, 0], [2, 3]]
    assert near.tolist() == [[0.0, 1.0], [1.0, 2.0], [0.5, 1.0]]


def test_half_of_the_gallery_are_the_worst_queries():
    right = torch.ones(10, 4, dtype=torch.bool)
    right[6, :3] = False
    right[3, 0] = False
    assert _half_worst(right, 4).tolist() == [0, 9, 6, 3]
    assert sorted(_half_worst(right[:2], 8).tolist()) == [0, 1]


def test_every_class_is_among_few_shown_samples():
    labels = torch.arange(1000) % 10
    shown = _spread_evenly(Embedded(torch.zeros(1000, 2), labels, torch.arange(1000)), 20)
    assert set(shown.labels.tolist()) == set(range(10))
    assert len(shown.ids) == 20


class _Logged(nn.Module):
    def log(self, *_, **__):
        """Take what is logged."""


def test_a_collapse_is_told_once():
    watch, module = CollapseWatch(threshold=0.01), _Logged()
    spread_out = torch.tensor(np.random.default_rng(0).normal(size=(20, 3)))
    watch.on_validation_batch_end(None, module, spread_out, None, 0)
    with pytest.warns(UserWarning, match="the embedding collapses"):
        watch.on_validation_batch_end(None, module, 0.001 * spread_out, None, 0)
    watch.on_validation_batch_end(None, module, 0.001 * spread_out, None, 0)  # no second warning, or it were an error


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
