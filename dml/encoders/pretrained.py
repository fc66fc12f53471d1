"""The encoder of an earlier run, weights and all: transfer is one block of a recipe."""

from argparse import ArgumentError
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jsonargparse import ArgumentParser

from dml import runs
from dml.encoders.base import Encoder
from dml.errors import UserError

_PREFIX = "encoder."


def pretrained_encoder(run: str, checkpoint: Literal["best", "last"] = "best", runs_dir: str = "runs") -> Encoder:
    """Build the encoder of a run's recipe and load its weights.

    Args:
        run: The run's folder, its name in `runs_dir`, or `latest`.
        checkpoint: Which weights: the best by validation or the last.
        runs_dir: The folder that holds the runs.

    Raises:
        UserError: The run is gone or incomplete, or its checkpoint is not of its recipe.

    Example:
        >>> pretrained_encoder("nowhere", runs_dir="no_runs_yet")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no run 'nowhere': neither a folder of that path nor a run in no_runs_yet
    """
    folder = runs.find_run(run, runs_dir)
    encoder = _build(folder / runs.CONFIG)
    path = runs.find_checkpoint(folder, checkpoint)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # a damaged file fails in many ways
        raise UserError(f"{path} is a broken checkpoint: train the run again") from error
    own = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit {folder / runs.CONFIG}: train the run again") from error
    return encoder


def _build(config: Path) -> Encoder:
    """Return the encoder a recipe describes, its weights as they start."""
    recipe: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    try:
        block = recipe["model"]["init_args"]["encoder"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{config} describes no encoder: give a run of `dml fit`") from error
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Encoder, "encoder", required=True)
    try:
        built: Encoder = parser.instantiate(parser.parse_object({"encoder": block})).encoder
    except ArgumentError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the encoder that {config} describes cannot be built: {reason}") from error
    return built
