"""Suggests what to try after a run that is no better than its baselines, as commands that run."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PHOTO = 48  # pixels a side from which a network of photographs is worth a try
_LARGE = ("TorchvisionEncoder", "TimmEncoder", "LoRAEncoder")  # of which the run has one already
_TIMES = 4  # as long
_LENGTHS = ("total_steps", "T_max", "epochs", "milestones")  # of schedules, which end with the training


def advice(config: Path, recipe: Any, data: Any) -> list[str]:
    r"""Return commands for a run: longer, with more variety, from a pretrained network.

    Args:
        config: The run's recipe, in the run's folder.
        recipe: The same as the parser has it: with `get` by a key's full name.
        data: What was trained on, with its `image_shape` and `scale`, and whether it was `transformed`.

    Example:
        >>> class Data:
        ...     image_shape, transformed, scale = (3, 64, 64), True, (0.5, 0.5)
        >>> print("\n".join(advice(Path("runs/first/config.yaml"), {"trainer.max_epochs": 30}, Data())))
        dml fit --config runs/first/config.yaml --name first-longer --trainer.max_epochs 120
        dml fit --config runs/first/config.yaml --name first-pretrained --model.encoder dml.encoders.TorchvisionEncoder
        --model.encoder.name resnet18 --model.encoder.weights DEFAULT --data.image_size 224
    """
    run, shape = config.parent, tuple(data.image_shape)
    elsewhere = {} if str(run.parent) == "runs" else {"runs_dir": str(run.parent)}

    def again(name: str, keys: Mapping[str, Any]) -> str:
        given = {"config": str(config), **elsewhere, "name": f"{run.name}-{name}", **keys}
        return shlex.join(["dml", "fit", *(word for key, value in given.items() for word in (f"--{key}", str(value)))])

    found = [again("longer", longer)] if (longer := _longer(recipe)) else []
    if len(shape) == 3 and not data.transformed and recipe.get("data.class_path") is None:
        augmented = {"data.transform": "dml.data.Augmentation", "data.transform.resized_crop": 0.5}
        found.append(again("augmented", augmented))
    own = not str(recipe.get("model.init_args.encoder.class_path")).endswith(_LARGE)
    if len(shape) == 3 and min(shape[1:]) >= _PHOTO and own and recipe.get("model.init_args.decoder") is None:
        found.append(again("pretrained", _pretrained(data)))
    return found


def _longer(recipe: Any) -> dict[str, Any]:
    """Return the keys for training four times as long, schedule included; none if a time limit ends it."""
    if recipe.get("trainer.max_time") is not None:
        return {}
    counts = {key: recipe.get(key) for key in ("trainer.max_epochs", "trainer.max_steps")}
    schedule = "model.init_args.lr_scheduler.init_args."
    for name in _LENGTHS:
        counts[f"model.lr_scheduler.{name}"] = recipe.get(f"{schedule}{name}")
    longer = {key: _TIMES * count for key, count in counts.items() if isinstance(count, int) and count > 0}
    return longer if any(key.startswith("trainer") for key in longer) else {}


def _pretrained(data: Any) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "model.encoder": "dml.encoders.TorchvisionEncoder",
        "model.encoder.name": "resnet18",
        "model.encoder.weights": "DEFAULT",
        "data.image_size": 224,
    }
    own = tuple(data.scale) == (0.5, 0.5)  # the network normalises by itself
    return keys | ({} if own else {"data.mean": 0.5, "data.std": 0.5})
