"""Scores under a rule of groups against a loop over queries in float64, both ways of counting, on any device."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from sklearn.metrics import roc_auc_score

from dml.callbacks import KNNEvaluation
from dml.data import ImageData, OmniglotRuns
from dml.embeddings import EmbeddingSet
from dml.encoders import FlattenEncoder
from dml.errors import UserError
from dml.evaluation import (
    find_neighborhoods,
    mean_scores,
    query_scores,
    retrieval,
    retrieval_scores,
    score_queries,
    verification_scores,
)
from dml.losses import PullLoss
from dml.modules import EmbeddingModule
from dml.neighbors.ranking import tiles

RULES = ("same", "other", "cross")


def is_compared(rule, same_group, same_class):
    return {"same": same_group, "other": not same_group, "cross": not (same_group and same_class)}[rule]


def loop(rule, query, reference, same_set):
    """Recall at 1 and 3, MAP, MAP@R and the 3-NN vote's accuracy of each scored query, by its position."""
    (x, y, g), (rx, ry, rg) = query, reference
    found = {}
    for i in range(len(x)):
        left = [
            j for j in range(len(rx)) if is_compared(rule, g[i] == rg[j], y[i] == ry[j]) and not (same_set and i == j)
        ]
        order = sorted(left, key=lambda j: ((x[i].astype(np.float64) - rx[j]) ** 2).sum())
        hits = np.array([ry[j] == y[i] for j in order])
        if not hits.any():
            continue
        precision = hits.cumsum() / np.arange(1, len(hits) + 1)
        votes = np.bincount([ry[j] for j in order[:3]], minlength=y.max() + 1)
        found[i] = {
            "recall_at_1": float(hits[0]),
            "recall_at_3": float(hits[:3].any()),
            "map": precision[hits].mean(),
            "map_at_r": precision[: hits.sum()][hits[: hits.sum()]].sum() / hits.sum(),
            "knn_accuracy": (votes[y[i]] == votes.max()) / (votes == votes.max()).sum(),
        }
    return found


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    y, g = rng.integers(0, 6, 130), rng.integers(0, 4, 130)
    x = (rng.standard_normal((6, 5))[y] + 0.5 * g[:, None] + rng.standard_normal((130, 5))).astype(np.float32)
    return x, y, g


@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_scores_are_those_of_the_loop(samples, rule, products, monkeypatch):
    monkeypatch.setattr(tiles, "takes_products", lambda *_: products)
    whole, part = tuple(column[:50] for column in samples), tuple(column[50:] for column in samples)
    for reference in (None, part):
        query = samples if reference is None else whole
        truth = loop(rule, query, reference or query, reference is None)
        given = (None, None) if reference is None else reference[:2]
        groups = {"query_groups": query[2], "reference_groups": None if reference is None else reference[2]}
        for memory in ("2GiB", 200_000):
            table = query_scores(*query[:2], *given, ks=(1, 3), knn_ks=(3,), max_memory=memory, **groups, groups=rule)
            assert sorted(table.ids.tolist()) == sorted(truth)
            assert table.num_lone_queries == len(query[0]) - len(truth)
            for at, i in enumerate(table.ids.tolist()):
                for name, value in truth[i].items():
                    assert table.scores[name][at] == pytest.approx(value, abs=1e-12), (i, name)


@pytest.mark.parametrize("rule", RULES)
def test_an_accelerator_gives_the_same_bits(samples, rule, monkeypatch):
    x, y, g = samples
    truth = query_scores(x, y, ks=(1,), knn_ks=(3,), query_groups=g, groups=rule)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    monkeypatch.setattr(retrieval, "find_device", lambda _: torch.device(device))
    found = query_scores(x, y, ks=(1,), knn_ks=(3,), query_groups=g, groups=rule)
    for name, values in truth.scores.items():
        np.testing.assert_array_equal(found.scores[name], values, err_msg=name)


def test_runs_of_their_own_are_the_mean_of_runs_scored_alone():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(5), 12)
    y = 100 * g + np.tile(np.repeat(np.arange(6), 2), 5)  # classes of one run, as in one-shot runs
    x = rng.standard_normal((60, 3)).astype(np.float32)
    alone = [retrieval_scores(x[g == run], y[g == run], ks=(1,), knn_ks=(1,)) for run in range(5)]
    together = retrieval_scores(x, y, ks=(1,), knn_ks=(1,), query_groups=g, groups="same")
    for name in ("recall_at_1", "map", "mrr", "knn_accuracy"):
        assert together[name] == pytest.approx(np.mean([run[name] for run in alone]))
    assert together["recall_at_1"] != retrieval_scores(x, y, ks=(1,), knn_ks=(1,))["recall_at_1"]


@pytest.mark.parametrize("rule", RULES)
def test_verification_compares_the_same_pairs(samples, rule):
    x, y, g = samples
    scored = loop(rule, samples, samples, True)
    pairs = [(i, j) for i in scored for j in range(len(x)) if i != j and is_compared(rule, g[i] == g[j], y[i] == y[j])]
    distances = [((x[i].astype(np.float64) - x[j]) ** 2).sum() for i, j in pairs]
    truth = roc_auc_score([y[i] == y[j] for i, j in pairs], -np.array(distances))
    found = verification_scores(x, y, query_groups=g, groups=rule)
    assert found["roc_auc"] == pytest.approx(truth, abs=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_neighbours_are_those_that_are_compared(samples, rule):
    x, y, g = samples
    rows = EmbeddingSet(x, y, ids=np.arange(130) + 7, groups=g)
    near = find_neighborhoods(rows, rows, 4, groups=rule)
    for at, i in enumerate((near.ids - 7).tolist()):
        left = [j for j in range(130) if j != i and is_compared(rule, g[i] == g[j], y[i] == y[j])]
        truth = sorted(left, key=lambda j: ((x[i].astype(np.float64) - x[j]) ** 2).sum())[:4]
        assert (near.neighbor_ids[at] - 7).tolist() == truth
    assert len(near.ids) == 130
    alone = EmbeddingSet(x[:4], y[:4], groups=[0, 0, 1, 2])
    assert find_neighborhoods(alone, alone, 4, groups="same").ids.tolist() == [0, 1]


def test_one_shot_runs_are_scored_within_themselves_and_the_recipe_may_say_otherwise(tmp_path):
    rng = np.random.default_rng(0)
    for run in range(3):  # of each run's four drawings one is taken for another of its run, all for those of other runs
        for i in range(4):
            base = np.random.default_rng(i).integers(0, 200, (8, 8))
            for part, number in (("training", i), ("test", i)):
                noise = rng.integers(0, 56, (8, 8))
                file = tmp_path / f"run{run}" / part / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((base + noise).astype(np.uint8)).save(file)
        pairs = [(0, 1), (1, 0), (2, 2), (3, 3)]  # the label file crosses two of them
        lines = [f"run{run}/test/{a}.png run{run}/training/{b}.png" for a, b in pairs]
        (tmp_path / f"run{run}" / "class_labels.txt").write_text("\n".join(lines))
    found = {}
    for rule in (None, "same", "any"):
        data = ImageData(source=OmniglotRuns(str(tmp_path)), image_size=8, cache=False)
        evaluation = KNNEvaluation(k=1, ks=(1,), groups=rule)
        quiet = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_checkpointing": False}
        trainer = Trainer(**quiet, callbacks=[evaluation])
        module = EmbeddingModule(FlattenEncoder(), PullLoss())
        found[rule] = trainer.test(module, datamodule=data, verbose=False)[0]["test/recall_at_1"]
        near = evaluation.neighborhoods(4)
        runs_of = data.catalog.groups
        within = (runs_of[near.ids][:, None] == runs_of[near.neighbor_ids]).all()
        assert within == (rule != "any")
    assert found[None] == found["same"] == 0.5
    assert found["any"] < 0.5


def test_sets_carry_their_groups(samples, tmp_path):
    x, y, g = samples
    rows = EmbeddingSet(x, y, ids=np.arange(130) % 120, groups=g)  # ten are padding
    rows.save(tmp_path / "rows.npz")
    read = EmbeddingSet.load(tmp_path / "rows.npz").take(slice(None, None, -1))
    found, truth = (
        mean_scores(score_queries(each, each, (1,), (3,), metric="cosine", groups="other"))
        for each in (read, EmbeddingSet(x[:120], y[:120], groups=g[:120]))
    )
    assert found == truth


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups": "own"}, "no groups 'own': choose one of any, same, other, cross"),
        ({"query_groups": None}, "groups 'same' needs samples with groups: a manifest's column `group`"),
        ({"query_groups": [1, 2]}, "query groups have shape"),
        ({"query_groups": np.arange(130)}, "among the references that groups 'same' leaves it: there is nothing"),
        ({"ks": (60,)}, "references that groups leave a query: give a smaller k"),
    ],
)
def test_bad_groups_are_one_clear_line(samples, change, words):
    x, y, g = samples
    with pytest.raises(UserError, match=words.replace("(", r"\(")) as caught:
        retrieval_scores(x, y, **{"query_groups": g, "groups": "same", "ks": (1,), "knn_ks": (1,), **change})
    assert "\n" not in str(caught.value)
