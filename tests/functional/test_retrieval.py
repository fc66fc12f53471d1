"""Rank scores against hand-worked examples; ties are tried order by order in tests/evaluation."""

import pytest
import torch

from dml.functional.retrieval import (
    Ranks,
    average_precision,
    map_at_r,
    ndcg,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
)


@pytest.fixture
def ranks():
    """One query with three positives at ranks 1, 3 and 6, none tied."""
    closer = torch.tensor([[0, 2, 5]])
    one = torch.ones_like(closer)
    return Ranks(closer, one, torch.tensor([[0, 1, 2]]), one, torch.tensor([3]))


def test_scores_of_one_ranking(ranks):
    assert recall_at_k(ranks, 1).tolist() == [1.0]
    assert precision_at_k(ranks, 5).tolist() == [0.4]
    assert r_precision(ranks).tolist() == pytest.approx([2 / 3])
    assert map_at_r(ranks).tolist() == pytest.approx([(1 + 2 / 3) / 3])
    assert average_precision(ranks).tolist() == pytest.approx([(1 + 2 / 3 + 3 / 6) / 3])
    assert reciprocal_rank(ranks).tolist() == [1.0]
    discounts = 1 / torch.tensor([2.0, 3, 4, 5, 6, 7], dtype=torch.float64).log2()
    assert ndcg(ranks).tolist() == pytest.approx([float(discounts[[0, 2, 5]].sum() / discounts[:3].sum())])


def test_filling_changes_nothing(ranks):
    wider = Ranks(*(torch.cat([part, torch.ones(1, 5, dtype=torch.int64)], dim=1) for part in ranks[:4]), ranks[4])
    for score in (r_precision, map_at_r, average_precision, ndcg):
        assert torch.equal(score(ranks), score(wider))
