"""LightningModules: an encoder with a loss, a head or a decoder. Glue only; the mathematics is in lower layers."""

from dml.modules.autoencoder import AutoencoderModule
from dml.modules.classifier import ClassifierModule
from dml.modules.embedding import EmbeddingModule
from dml.modules.mixing import MixedImages, cut_mix

__all__ = ["AutoencoderModule", "ClassifierModule", "EmbeddingModule", "MixedImages", "cut_mix"]
