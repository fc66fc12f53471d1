"""LightningModules: encoder and loss, encoder and head. Glue only; the mathematics lies on the ground floor."""

from dml.modules.classifier import ClassifierModule
from dml.modules.embedding import EmbeddingModule

__all__ = ["ClassifierModule", "EmbeddingModule"]
