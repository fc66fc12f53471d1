"""Which losses, miners, distances, reducers and regularisers of pytorch-metric-learning train with `dml fit`.

    python benchmarks/peer_parts.py        writes docs/guides/peer_parts.md

Each is named on the command line and run for three batches of the digits, with a validation; if it fails, the page
shows the line that the user would see.
"""

import argparse
import contextlib
import inspect
import io
import os
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytorch_metric_learning
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

from dml.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "peer_parts.md"
QUICK = [
    "--trainer.fast_dev_run=3",
    "--trainer.accelerator=cpu",
    "--evaluation.baselines=false",
    "--data.batch_size=60",
]
PEER = "pytorch_metric_learning"
# what a class must be told beside the classes and the embedding's size, which dml fills in
ARGUMENTS = {
    "CrossBatchMemory": ["--model.loss.loss={peer}.losses.ContrastiveLoss", "--model.loss.memory_size=256"],
    "MultipleLosses": None,  # takes a list of losses: in a recipe's file
    "SelfSupervisedLoss": None,
    "VICRegLoss": None,
    "RankedListLoss": ["--model.loss.margin=0.4", "--model.loss.Tn=10"],
    "P2SGradLoss": ["--model.loss.descriptors_dim=64", "--model.loss.num_classes=10"],
    "ThresholdReducer": ["--model.loss.reducer.low=0"],
    "MultipleReducers": None,
    "EmbeddingsAlreadyPackagedAsTriplets": None,
    "TuplesToWeightsTuples": None,
}
SKIPPED = {
    "MultipleLosses": "takes a list of losses: name them in a recipe file",
    "ManifoldLoss": "takes no labels: use it within `dml.losses.UnlabelledLoss`",
    "SelfSupervisedLoss": "needs two views of an image: `dml.losses.UnlabelledLoss` takes two images of a class",
    "VICRegLoss": "takes no labels: use `dml.losses.vicreg_loss`",
    "MultipleReducers": "for losses of several parts: name it in a recipe file",
    "EmbeddingsAlreadyPackagedAsTriplets": "for batches that are triplets already",
    "BatchedDistance": "wraps another distance, with a function of your own: from Python",
    "ClassWeightedReducer": "takes a tensor of weights: from Python",
    "DivisorReducer": "for losses that name a divisor",
    "DoNothingReducer": "gives no single number to learn from",
    "PerAnchorReducer": "its default is a function, which a recipe may not name: from Python",
    "SparseCentersRegularizer": "for SoftTripleLoss",
}
ABSTRACT = {"BaseMetricLossFunction", "GenericPairLoss", "WeightRegularizerMixin", "WeightMixin", "LossWrapper"}
ABSTRACT |= {
    "BaseLossWrapper",
    "BaseMetricLossWrapper",
    "BaseMiner",
    "BaseSubsetBatchMiner",
    "BaseTupleMiner",
    "BaseDistance",
}
ABSTRACT |= {"EmbeddingRegularizerMixin", "BaseReducer", "BaseRegularizer", "BaseWeightRegularizer"}


def names_of(module: object) -> list[str]:
    """Return the public classes of a module that can be built."""
    found = inspect.getmembers(module, inspect.isclass)
    return [name for name, made in found if name not in ABSTRACT and made.__module__.startswith(PEER)]


def attempts() -> Iterator[tuple[str, str, list[str]]]:
    """Yield kind, name and keys of everything that is tried."""
    cosine = ["--evaluation.metric=cosine"]
    for name in names_of(losses):
        more = [word.format(peer=PEER) for word in ARGUMENTS.get(name) or []]
        yield "loss", name, [f"--model.loss={PEER}.losses.{name}", *more, *cosine]
    base = f"--model.loss={PEER}.losses.TripletMarginLoss"
    for name in names_of(miners):
        yield "miner", name, [base, f"--model.miner={PEER}.miners.{name}", *cosine]
    pairs = f"--model.loss={PEER}.losses.ContrastiveLoss"
    for name in names_of(distances):
        margins = ["--model.loss.pos_margin=1", "--model.loss.neg_margin=0"] if _is_similarity(name) else []
        yield "distance", name, [pairs, *margins, f"--model.loss.distance={PEER}.distances.{name}", *cosine]
    for name in names_of(reducers):
        more = ARGUMENTS.get(name) or []
        yield "reducer", name, [base, f"--model.loss.reducer={PEER}.reducers.{name}", *more, *cosine]
    proxies = f"--model.loss={PEER}.losses.NormalizedSoftmaxLoss"
    for name in names_of(regularizers):
        of_weights = name in {"RegularFaceRegularizer", "SparseCentersRegularizer"}
        key = "weight_regularizer" if of_weights else "embedding_regularizer"
        words = [proxies if of_weights else base, f"--model.loss.{key}={PEER}.regularizers.{name}"]
        yield "regulariser", name, [*words, *(ARGUMENTS.get(name) or []), *cosine]


def _is_similarity(name: str) -> bool:
    return bool(getattr(distances, name)().is_inverted) if name != "BatchedDistance" else False


def tried(keys: list[str]) -> str:
    """Return "" where a command trains and validates, else the line it ends with."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(["fit", *QUICK, *keys])
        except Exception as error:  # a traceback is what a user must never see: it is shown as one
            return f"traceback: {type(error).__name__}: {error}".splitlines()[0]
    lines = [line for line in told.getvalue().splitlines() if line.startswith("dml: ")]
    return "" if code == 0 else (lines or ["ended without a word"])[-1].removeprefix("dml: ")


def page() -> str:
    """Try everything and return the page."""
    rows, works = [], 0
    for kind, name, keys in attempts():
        reason = SKIPPED.get(name) or tried(keys)
        works += not reason
        rows.append(f"| {kind} | `{name}` | {'works' if not reason else reason.replace('|', '&#124;')} |")
        print(rows[-1], flush=True)
    peer = f"pytorch-metric-learning {version('pytorch-metric-learning')}, {date.today()}"
    return "\n".join(
        [
            "# Parts of pytorch-metric-learning",
            "",
            f"{peer}: {works} of {len(rows)} train with `dml fit` when named on the command line:",
            "each was tried on three batches of the digits and a validation, by `python benchmarks/peer_parts.py`.",
            "`num_classes` and `embedding_size` are filled in.",
            "",
            "| | class | |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    assert pytorch_metric_learning
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        written = page()
    PAGE.write_text(written, encoding="utf-8")
