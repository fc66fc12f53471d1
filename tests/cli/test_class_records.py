"""What `validate` leaves of single classes: precision, recall and F1, of a classifier's head and of k-NN votes."""

import json

import numpy as np
import pytest

RECIPE = """
trainer: {accelerator: cpu}
model:
  class_path: dml.modules.ClassifierModule
  init_args:
    encoder: {class_path: dml.encoders.FlattenEncoder}
    head: {class_path: dml.heads.LinearHead, init_args: {num_classes: 10}}
"""


def test_scores_and_record_hold_them_for_head_and_votes(dml, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    code, _, err = dml("validate", "--config", "recipe.yaml", "--output", "out/scores.json")
    assert code == 0, err
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["val"]
    record = json.loads((tmp_path / "out" / "classes_val.json").read_text())
    assert {*record} == {"head", "knn"}
    for who, prefix in (("head", ""), ("knn", "knn_")):
        for name in ("precision", "recall", "f1"):
            mean = np.mean([row[name] for row in record[who].values()])
            assert scores[f"{prefix}macro_{name}"] == pytest.approx(mean, rel=1e-6)
        assert sum(row["support"] for row in record[who].values()) == 359
