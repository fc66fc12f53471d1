"""Every loss and miner of pytorch-metric-learning, and ours, by class_path in EmbeddingModule."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from pytorch_metric_learning import losses, miners

from dml.data import Batch, ImageData
from dml.encoders import LinearEncoder
from dml.errors import UserError
from dml.losses import TripletLoss
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


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("PullLoss", {}),
        ("ContrastiveLoss", {"pos_margin": 0.1, "neg_margin": 50.0}),
        ("TripletLoss", {"margin": 1.0, "mining": "hard"}),
        ("CrossBatchMemory", {"loss": {"class_path": f"{OURS}.PullLoss"}, "memory_size": 64, "embedding_dim": DIM}),
    ],
)
def test_our_losses_train(name: str, arguments: dict[str, Any]) -> None:
    assert train(build(loss={"class_path": f"{OURS}.{name}", "init_args": arguments}))[0] > 0


@pytest.mark.parametrize("name", ["SupConLoss", "ProxyAnchorLoss", "MultiSimilarityLoss"])
def test_under_autocast_a_loss_computes_in_32_bits(name: str) -> None:
    torch.manual_seed(0)
    module = build(loss=loss_block(name))
    images = torch.randn(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24) % CLASSES
    with torch.autocast("cpu", torch.bfloat16):
        rounded = module.encoder(images)
        loss = module.training_step(Batch(images, labels, torch.arange(24)), 0)
    assert rounded.dtype is torch.bfloat16
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, module.loss(rounded.float(), labels), atol=1e-5, rtol=1e-5)


def test_weights_of_the_loss_have_their_own_learning_rate() -> None:
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.0}}
    module = build(loss=loss_block("ProxyAnchorLoss"), optimizer=sgd, loss_lr=0.5)
    moved = dict(zip([name for name, _ in module.named_parameters()], train(module), strict=True))
    assert moved.pop("loss.proxies") > 0
    assert all(move == 0 for move in moved.values())


def test_weights_of_the_loss_are_saved_restored_and_moved() -> None:
    first, second = (build(loss=loss_block("ProxyAnchorLoss")) for _ in range(2))
    train(first)
    second.load_state_dict(first.state_dict())
    assert (second.loss.proxies == first.loss.proxies).all()
    assert second.to(torch.float64).loss.proxies.dtype == torch.float64


@pytest.mark.parametrize("room", [PEER, OURS])
@pytest.mark.filterwarnings(*(f"ignore:{text}" for text in OTHERS_WARNINGS))
def test_a_memory_keeps_nothing_of_what_it_is_evaluated_on(room: str) -> None:
    size = {"embedding_size": DIM} if room == PEER else {"embedding_dim": DIM}
    module = build(
        loss={"class_path": f"{room}.CrossBatchMemory", "init_args": {"loss": NESTED, "memory_size": 64} | size}
    )
    train(module)
    memory = module.loss.embedding_memory if room == PEER else module.loss.queue
    before = memory.clone()
    module.eval()
    module.validation_step(Batch(torch.randn(8, 1, 4, 4), torch.arange(8) % CLASSES, torch.arange(8)), 0)
    assert (memory == before).all()


@pytest.mark.parametrize("name", ["TripletMarginLoss", "ProxyAnchorLoss"])
def test_gradient_caching_changes_nothing_but_memory(name: str) -> None:
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    modules = [build(loss=loss_block(name), optimizer=sgd, chunk_size=size) for size in (None, 5)]
    modules[1].load_state_dict(modules[0].state_dict())
    for module in modules:
        train(module)
    torch.testing.assert_close(*(list(module.parameters()) for module in modules))


def test_settings_that_do_not_go_together_are_refused() -> None:
    miner, ours = miners.BatchHardMiner(), TripletLoss(1.0)
    with pytest.raises(UserError, match="takes no miner"):
        EmbeddingModule(LinearEncoder(DIM), ours, miner)
    with pytest.raises(UserError, match="has no weights"):
        EmbeddingModule(LinearEncoder(DIM), ours, loss_lr=1.0).configure_optimizers()


def test_a_run_on_digits_restores_proxies_and_refuses_too_few(tmp_path: Path) -> None:
    def module(classes: int) -> EmbeddingModule:
        return EmbeddingModule(LinearEncoder(DIM), losses.ProxyAnchorLoss(classes, DIM), loss_lr=0.1)

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_steps=3, limit_val_batches=0, default_root_dir=tmp_path, **quiet)
    first, second = module(10), module(10)
    data = ImageData(cache=False)
    trainer.fit(first, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    Trainer(max_steps=3, limit_val_batches=0, enable_checkpointing=False, **quiet).fit(
        second, data, ckpt_path=tmp_path / "last.ckpt"
    )
    assert (first.loss.proxies == second.loss.proxies).all()
    with pytest.raises(UserError, match=r"set model\.loss\.num_classes to 10"):
        Trainer(max_steps=3, enable_checkpointing=False, **quiet).fit(module(9), data)
