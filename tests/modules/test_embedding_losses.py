"""Every loss and miner of pytorch-metric-learning, and ours, by class_path in EmbeddingModule."""

import inspect
from typing import Any

import pytest
import torch
from lightning.pytorch.cli import LightningArgumentParser
from pytorch_metric_learning import losses, miners

from dml.data import Batch
from dml.modules import EmbeddingModule

PEER, OURS = "pytorch_metric_learning.losses", "dml.losses"
DIM, CLASSES = 8, 4
PROXIES = {"num_classes": CLASSES, "embedding_size": DIM}
NESTED = {"class_path": f"{PEER}.ContrastiveLoss"}
ARGUMENTS: dict[str, dict[str, Any]] = {  # what a loss must be told; the others need nothing
    **dict.fromkeys(["ArcFaceLoss", "CosFaceLoss", "LargeMarginSoftmaxLoss", "NormalizedSoftmaxLoss"], PROXIES),
    **dict.fromkeys(
        ["ProxyAnchorLoss", "ProxyNCALoss", "SoftTripleLoss", "SphereFaceLoss", "SubCenterArcFaceLoss"], PROXIES
    ),
    "MarginLoss": {"num_classes": CLASSES, "learn_beta": True},
    "P2SGradLoss": {"num_classes": CLASSES, "descriptors_dim": DIM},
    "RankedListLoss": {"margin": 0.4, "Tn": 5.0},
    "HistogramLoss": {"n_bins": 10},
    "ManifoldLoss": {"l": DIM, "K": 4},
    "CrossBatchMemory": {"loss": NESTED, "embedding_size": DIM, "memory_size": 64},
    "MultipleLosses": {"losses": [NESTED, {"class_path": f"{PEER}.TripletMarginLoss"}]},
    "SelfSupervisedLoss": {"loss": NESTED},
}
VIEWS = {"ManifoldLoss": 1, "SelfSupervisedLoss": 2, "VICRegLoss": 2}  # they take no labels
ABSTRACT = {
    "BaseLossWrapper",
    "BaseMetricLossFunction",
    "GenericPairLoss",
    "EmbeddingRegularizerMixin",
    "WeightRegularizerMixin",
}
OTHERS_WARNINGS = [
    "Converting a tensor with requires_grad",  # AngularLoss
    "Using a non-tuple sequence",  # HistogramLoss
    "__array_wrap__ must accept",  # LargeMarginSoftmaxLoss, SphereFaceLoss
    r"\s*(By default only one Jsonargparse|Instantiating a subclass spec)",  # losses within losses, which are untyped
]


def names(room: Any, but: set[str]) -> list[str]:
    return [name for name, member in vars(room).items() if inspect.isclass(member) and name not in but]


def loss_block(name: str) -> dict[str, Any]:
    path = f"{OURS}.vicreg_loss" if name == "VICRegLoss" else f"{PEER}.{name}"
    block = {"class_path": path, "init_args": ARGUMENTS.get(name, {})}
    if name in VIEWS:
        return {"class_path": f"{OURS}.UnlabelledLoss", "init_args": {"loss": block, "views": VIEWS[name]}}
    return block


def build(**model: Any) -> EmbeddingModule:
    """Instantiate as the command line does."""
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(EmbeddingModule, "model")
    encoder = {"class_path": "dml.encoders.LinearEncoder", "init_args": {"embedding_dim": DIM}}
    module = parser.instantiate(parser.parse_object({"model": {"encoder": encoder} | model})).model
    module.encoder(torch.zeros(1, 1, 4, 4))
    module.log = lambda *_, **__: None
    return module


def train(module: EmbeddingModule, steps: int = 2) -> list[torch.Tensor]:
    """Take some steps; return by how much each parameter moved."""
    generator = torch.Generator().manual_seed(0)
    before = [p.detach().clone() for p in module.parameters()]
    optimizer = module.configure_optimizers()
    for step in range(steps):
        batch = Batch(torch.randn(24, 1, 4, 4, generator=generator), torch.arange(24) % CLASSES, torch.arange(24))
        loss = module.training_step(batch, step)
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        module.on_train_batch_end(loss, batch, step)
    return [(p.detach() - b).abs().max() for p, b in zip(module.parameters(), before, strict=True)]


@pytest.mark.filterwarnings(*(f"ignore:{text}" for text in OTHERS_WARNINGS))
@pytest.mark.parametrize("name", names(losses, ABSTRACT))
def test_every_loss_of_pytorch_metric_learning_trains(name: str) -> None:
    torch.manual_seed(0)
    module = build(loss=loss_block(name))
    assert all(moved > 0 for moved in train(module))  # the encoder and, where there are some, the loss's weights


@pytest.mark.parametrize("name", names(miners, {"BaseMiner"}))
def test_every_miner_of_pytorch_metric_learning_trains(name: str) -> None:
    torch.manual_seed(0)
    module = build(
        loss={"class_path": f"{PEER}.TripletMarginLoss", "init_args": {"margin": 1.0}},
        miner={"class_path": f"pytorch_metric_learning.miners.{name}"},
    )
    assert train(module)[0] > 0
