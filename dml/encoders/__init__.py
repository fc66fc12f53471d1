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
from dml.encoders.pretrained import pretrained_encoder
from dml.encoders.strided import StridedConvEncoder
from dml.encoders.timm_models import TimmEncoder
from dml.encoders.torchvision_models import TorchvisionEncoder
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
    "NormalLinear",
    "Preprocessing",
    "StridedConvEncoder",
    "TimmEncoder",
    "TorchvisionEncoder",
    "WrappedEncoder",
    "encoder_hash",
    "layers_of",
    "materialize",
    "pretrained_encoder",
    "settle",
]
