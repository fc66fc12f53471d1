"""The accelerator's ranking beside the CPU's; without a GPU, torch plays it on the CPU."""

import numpy as np
import pytest
import torch

from dml.errors import UserError
from dml.evaluation import query_scores, retrieval, retrieval_scores

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("kind", ["blobs", "collapsed", "whole numbers"])
@pytest.mark.parametrize("classes", [3, 60])  # more positives than are counted one by one, and fewer
@pytest.mark.parametrize("scores", [None, ["recall_at_5", "r_precision", "knn_accuracy"]])
def test_same_scores_as_on_the_cpu(monkeypatch, classes, kind, scores):
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 400)
    x = rng.standard_normal((classes, 8))[y] + rng.standard_normal((400, 8))
    x = {"blobs": x, "collapsed": 1 + 1e-6 * x, "whole numbers": np.rint(x)}[kind].astype(np.float32)
    x[100:150] = x[:50]
    truth = query_scores(x, y, knn_ks=(1, 5), scores=scores)
    monkeypatch.setattr(retrieval, "find_device", lambda device: torch.device(DEVICE))
    for memory in ("2GiB", "2MB"):
        found = query_scores(x, y, knn_ks=(1, 5), max_memory=memory, scores=scores)
        for name, values in truth.scores.items():
            np.testing.assert_array_equal(found.scores[name], values, err_msg=name)


def test_a_device_that_is_not_there_is_named(blobs):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="device 'cuda' cannot be used here"):
        retrieval_scores(*blobs, device="cuda")
