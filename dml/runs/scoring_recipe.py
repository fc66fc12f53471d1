"""Reduces a recipe to what scoring needs, so that nothing else of a stranger's run is built."""

from pathlib import Path
from typing import Any

from dml.runs.recipes import read_recipe

Recipe = dict[str, Any]

# of the trainer, values that say how numbers are computed; never objects: loggers, callbacks, plugins, profilers
_TRAINER = (
    *("accelerator", "devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark"),
    *("limit_val_batches", "limit_test_batches", "limit_predict_batches", "enable_progress_bar"),
)
_UNUSED = {"model": ("lr_scheduler", "miner"), "data": ("transform", "sampler")}  # of training alone
_ADAM = {"class_path": "torch.optim.Adam"}


def to_score(recipe: Recipe) -> Recipe:
    """Return the part of a recipe that scoring builds: encoder, head, decoder, loss (for `val/loss`), data, evaluation.

    Optimiser, schedule, miner, transform, sampler, loggers, callbacks and pictures are left out.

    Example:
        >>> recipe = {"trainer": {"precision": 32, "callbacks": ["evil.Callback"]}, "pictures": {}}
        >>> to_score(recipe | {"model": {"class_path": "a.Model", "init_args": {"miner": "evil.Miner", "dim": 2}}})
        {'trainer': {'precision': 32}, 'model': {'class_path': 'a.Model', 'init_args': {'dim': 2}}}
    """
    kept = {key: value for key, value in recipe.items() if key not in {"pictures", "checkpoint"}}
    trainer = recipe.get("trainer")
    if isinstance(trainer, dict):
        plain = (int, float, str, bool)
        kept["trainer"] = {key: trainer[key] for key in _TRAINER if isinstance(trainer.get(key), plain)}
    for block, unused in _UNUSED.items():
        kept |= {block: _without(kept[block], unused)} if isinstance(kept.get(block), dict) else {}
    return kept


def read_to_score(run: Path) -> Recipe:
    """Return the part of a run's recipe that scoring builds; it downloads nothing, and makes no folder for its cache.

    Raises:
        UserError: The run holds no readable recipe.
    """
    recipe: Recipe = from_checkpoint(to_score(read_recipe(run)))
    data = _without_downloads(recipe["data"])
    if isinstance(data, dict):
        own = data["init_args"] if isinstance(data.get("init_args"), dict) else data
        if not (isinstance(own.get("cache_dir"), str) and Path(own["cache_dir"]).expanduser().is_dir()):
            own.pop("cache_dir", None)
    return recipe | {"data": data}


def from_checkpoint(value: Any) -> Any:
    """Return a recipe, or a part of one, whose networks of other libraries wait for the weights of a checkpoint.

    What they were trained from is not read or downloaded again: it may be gone.

    Args:
        value: Blocks, lists and plain values.

    Example:
        >>> from_checkpoint({"class_path": "dml.encoders.TimmEncoder", "init_args": {"weights": "vit.safetensors"}})
        {'class_path': 'dml.encoders.TimmEncoder', 'init_args': {'weights': 'CHECKPOINT'}}
    """
    if isinstance(value, list):
        return [from_checkpoint(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: from_checkpoint(item) for key, item in value.items()}
    arguments = kept.get("init_args")
    named = str(kept.get("class_path")).rpartition(".")[2] in ("TorchvisionEncoder", "TimmEncoder")
    if named and isinstance(arguments, dict) and arguments.get("weights") is not None:
        arguments["weights"] = "CHECKPOINT"
    return kept


def _without(block: Recipe, unused: tuple[str, ...]) -> Recipe:
    """Return a block without arguments of training, given directly or under `init_args`."""
    kept = {key: value for key, value in block.items() if key not in unused}
    if isinstance(kept.get("init_args"), dict):
        kept["init_args"] = _without(kept["init_args"], unused)
    if "optimizer" in kept:
        kept["optimizer"] = _ADAM  # a module may need one to be built; it is never called
    return kept


def _without_downloads(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_downloads(item) for item in value]
    if value == "dml.data.TorchvisionSet":
        value = {"class_path": value}
    if not isinstance(value, dict):
        return value
    kept = {key: item if key == "class_path" else _without_downloads(item) for key, item in value.items()}
    kept |= {"download": False} if "download" in kept else {}
    if str(kept.get("class_path")).endswith("TorchvisionSet"):  # it downloads where it is told nothing
        arguments = kept.get("init_args")
        kept["init_args"] = {**(arguments if isinstance(arguments, dict) else {}), "download": False}
    return kept
