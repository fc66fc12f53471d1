"""Encoders: networks from images (B,C,H,W) to embeddings (B,D)."""

from dml.encoders.alexnet import AlexNetEncoder
from dml.encoders.base import Encoder, materialize, settle
from dml.encoders.conv import ConvEncoder
from dml.encoders.flatten import FlattenEncoder
from dml.encoders.hashing import encoder_hash
from dml.encoders.layers import Layer, layers_of
from dml.encoders.linear import LinearEncoder, NormalLinear
from dml.encoders.lora import LoRAEncoder
from dml.encoders.mlp import MLPEncoder
from dml.encoders.moments import MomentNormalizedEncoder
from dml.encoders.pretrained import pretrained_encoder
from dml.encoders.residual import ResidualEncoder
from dml.encoders.strided import StridedConvEncoder
from dml.encoders.timm_models import TimmEncoder
from dml.encoders.torchvision_models import TorchvisionEncoder
from dml.encoders.views import ViewAveragedEncoder
from dml.encoders.whitened_conv import WhitenedConvEncoder
from dml.encoders.whitening import WhitenedPatches
from dml.encoders.wrapped import Preprocessing, WrappedEncoder

__all__ = [
    "AlexNetEncoder",
    "ConvEncoder",
    "Encoder",
    "FlattenEncoder",
    "Layer",
    "LinearEncoder",
    "LoRAEncoder",
    "MLPEncoder",
    "MomentNormalizedEncoder",
    "NormalLinear",
    "Preprocessing",
    "ResidualEncoder",
    "StridedConvEncoder",
    "TimmEncoder",
    "TorchvisionEncoder",
    "ViewAveragedEncoder",
    "WhitenedConvEncoder",
    "WhitenedPatches",
    "WrappedEncoder",
    "encoder_hash",
    "layers_of",
    "materialize",
    "pretrained_encoder",
    "settle",
]
