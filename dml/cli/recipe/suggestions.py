"""Guesses what was meant by a key, a word or a class that does not exist."""

import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from dml.cli.choices import choices

# what other tools call it -> the key
_ALIASES = {
    "lr": "model.optimizer.lr",
    "learning_rate": "model.optimizer.lr",
    "weight_decay": "model.optimizer.weight_decay",
    "optimizer": "model.optimizer",
    "scheduler": "model.lr_scheduler",
    "lr_scheduler": "model.lr_scheduler",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "max_epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "max_steps": "trainer.max_steps",
    "gpus": "trainer.devices",
    "devices": "trainer.devices",
    "precision": "trainer.precision",
    "accelerator": "trainer.accelerator",
    "device": "trainer.accelerator",
    "seed": "seed_everything",
    "data_dir": "data.root",
    "data_root": "data.root",
    "dataset": "data.root",
    "root": "data.root",
    "path": "data.root",
    "batch": "data.batch_size",
    "batch_size": "data.batch_size",
    "image_size": "data.image_size",
    "size": "data.image_size",
    "img_size": "data.image_size",
    "transform": "data.transform",
    "sampler": "data.sampler",
    "split": "data.split",
    "encoder": "model.encoder",
    "backbone": "model.encoder",
    "embedding_dim": "model.encoder.embedding_dim",
    "embedding_size": "model.encoder.embedding_dim",
    "loss": "model.loss",
    "criterion": "model.loss",
    "margin": "model.loss.margin",
    "miner": "model.miner",
    "head": "model.head",
    "metric": "evaluation.metric",
    "k": "evaluation.k",
    "logger": "trainer.logger",
    "output_dir": "runs_dir",
    "log_dir": "runs_dir",
    "resume": "ckpt_path",
    "checkpoint": "ckpt_path",
}
# the last part of a key -> what `dml list` names for it
_KINDS = {
    "encoder": "encoders",
    "head": "heads",
    "decoder": "decoders",
    "loss": "losses",
    "sampler": "samplers",
    "transform": "transforms",
    "split": "splits",
    "source": "data",
}


def nearest_key(key: str, keys: Iterable[str]) -> str | None:
    """Return the key that was probably meant, None if nothing is close.

    Args:
        key: Without the dashes.
        keys: All existing keys.

    Example:
        >>> nearest_key("lr", []), nearest_key("batch_sise", ["data.batch_size"]), nearest_key("zzz", ["data.root"])
        ('model.optimizer.lr', 'data.batch_size', None)
    """
    known = list(keys)
    if key in _ALIASES:
        return _ALIASES[key]
    if begun := [name for name in known if name.startswith(key)]:
        return min(begun, key=len)
    if near := get_close_matches(key, known, n=1, cutoff=0.7):
        return near[0]
    last = {name.rpartition(".")[2]: name for name in reversed(known)}
    for ends, found in ((last, lambda name: last[name]), (_ALIASES, lambda name: _ALIASES[name])):
        if near := get_close_matches(key.rpartition(".")[2], list(ends), n=1, cutoff=0.75):
            return found(near[0])
    near = get_close_matches(key, known, n=1)
    return near[0] if near else None


def nearest_argument(class_path: str, name: str) -> str | None:
    """Return the constructor argument that was probably meant; the class must have been imported already.

    Example:
        >>> import torch
        >>> nearest_argument("torch.nn.Dropout", "probability"), nearest_argument("torch.nn.Dropout", "inplce")
        (None, 'inplace')
    """
    module, _, attribute = class_path.rpartition(".")
    made = getattr(sys.modules.get(module), attribute, None)
    if not callable(made):
        return None
    near = get_close_matches(name, inspect.signature(made).parameters, n=1)
    return near[0] if near else None


def meant_by_word(word: str) -> str:
    """Return what to type instead of a word on its own, "" if nothing is known.

    Example:
        >>> meant_by_word("recipe.yaml"), meant_by_word("photos")
        ('--config recipe.yaml', '--data.root photos')
    """
    if word.startswith("-"):
        return ""
    return f"--config {word}" if word.endswith((".yaml", ".yml")) else f"--data.root {word}"


def kind_of(key: str) -> str | None:
    """Return what `dml list` calls the things a key chooses among, None if it does not list them.

    Example:
        >>> kind_of("model.loss"), kind_of("trainer.logger")
        ('losses', None)
    """
    return _KINDS.get(key.rpartition(".")[2])


def nearest_class(key: str, name: str) -> str | None:
    """Return the class path that was probably meant by a name that is not a class.

    Args:
        key: `model.loss`.
        name: What was given.

    Example:
        >>> nearest_class("model.loss", "TripetLoss"), nearest_class("model.optimizer", "AdamX")
        ('dml.losses.TripletLoss', 'torch.optim.Adam')
    """
    paths = _class_paths(key)
    by_name = {path.rpartition(".")[2]: path for path in reversed(paths)}
    near = get_close_matches(name.rpartition(".")[2], list(by_name), n=1, cutoff=0.6)
    return by_name[near[0]] if near else None


def _class_paths(key: str) -> Sequence[str]:
    """Return the class paths that a key may be given, ours first."""
    last = key.rpartition(".")[2]
    paths = list(choices(kind)) if (kind := kind_of(key)) else []
    others = {
        "loss": ("pytorch_metric_learning.losses", "torch.nn"),
        "miner": ("pytorch_metric_learning.miners",),
        "sampler": ("pytorch_metric_learning.samplers", "torch.utils.data"),
        "transform": ("torchvision.transforms.v2",),
        "optimizer": ("torch.optim",),
        "lr_scheduler": ("torch.optim.lr_scheduler",),
        "callbacks": ("lightning.pytorch.callbacks",),
        "logger": ("lightning.pytorch.loggers",),
        "model": ("dml.modules",),
    }.get(last, ())
    return [*paths, *(f"{module}.{name}" for module in others for name in _public(module))]


def _public(module: str) -> list[str]:
    """Return the names that a package's front page imports or lists, read from its file: nothing is imported."""
    from importlib.util import find_spec

    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        return []
    if found is None or found.origin is None:
        return []
    names: list[str] = re.findall(r"\b[A-Z]\w+\b", Path(found.origin).read_text(encoding="utf-8"))
    return names
