"""The macro scores that a classifier logs, beside scikit-learn's on its logits."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import precision_recall_fscore_support
from torch.utils.data import DataLoader, TensorDataset

from dml.encoders import FlattenEncoder
from dml.evaluation import precision_recall_f1
from dml.heads import LinearHead
from dml.modules import ClassifierModule

QUIET = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def test_a_classifier_logs_the_macro_scores_of_its_head():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(50, 1, 3, 3, generator=generator), torch.arange(50) % 6  # one class is never there
    torch.manual_seed(0)
    module = ClassifierModule(FlattenEncoder(), LinearHead(7))
    module.build((1, 3, 3))
    trainer = Trainer(**QUIET, enable_checkpointing=False)
    trainer.validate(module, DataLoader(TensorDataset(images, labels), batch_size=16), verbose=False)
    predicted = module(images).argmax(dim=1)
    truth = precision_recall_fscore_support(labels, predicted, zero_division=0)
    for ours, theirs in zip(precision_recall_f1(module.class_counts)[1:], truth, strict=True):
        np.testing.assert_allclose(ours, theirs)
    logged = [float(trainer.callback_metrics[f"val/macro_{name}"]) for name in ("precision", "recall", "f1")]
    assert logged == pytest.approx([column.mean() for column in truth[:3]], rel=1e-6)
