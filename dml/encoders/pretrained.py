"""The encoder of an earlier run, weights included: transfer is one block of a recipe."""

from argparse import ArgumentError
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import ArgumentParser

from dml import runs
from dml.encoders.base import Encoder
from dml.errors import UserError

_PREFIX = "encoder."
_building: ContextVar[tuple[Path, ...]] = ContextVar("building", default=())  # a run's encoder may be another run's


def pretrained_encoder(run: str, checkpoint: Literal["best", "last"] = "best", runs_dir: str = "runs") -> Encoder:
    """Build the encoder of a run's recipe and load its weights.

    Args:
        run: The run's folder, its name in `runs_dir`, or `latest`.
        checkpoint: Which weights: the best by validation or the last.
        runs_dir: The folder that holds the runs.

    Raises:
        UserError: The run is gone or incomplete, or its checkpoint does not fit its recipe.

    Example:
        >>> pretrained_encoder("nowhere", runs_dir="no_runs_yet")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no run 'nowhere': neither a folder of that path nor a run in no_runs_yet
    """
    folder = runs.find_run(run, runs_dir)
    if folder.resolve() in _building.get():
        raise UserError(f"run {folder} takes its encoder from itself: restore its {runs.CONFIG}")
    token = _building.set((*_building.get(), folder.resolve()))
    try:
        with runs.trusting():
            runs.trust_own(folder / runs.CONFIG)
            encoder = _build(folder)
    finally:
        _building.reset(token)
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


def _build(run: Path) -> Encoder:
    """Return the encoder a run's recipe describes, with initial weights; nothing else of the recipe is built."""
    config = run / runs.CONFIG
    model = runs.from_checkpoint(runs.with_places(runs.read_recipe_file(config), run).get("model"))
    arguments = model.get("init_args") if isinstance(model, dict) else None
    if not isinstance(arguments, dict) or "encoder" not in arguments:
        raise UserError(f"{config} describes no encoder: give a run of `dml fit`")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Encoder, "encoder", required=True)
    try:
        with runs.guarded_imports():
            parsed = parser.parse_object({"encoder": arguments["encoder"]})
            runs.check_classes(parsed)
            built: Encoder = parser.instantiate(parsed).encoder
    except Exception as error:  # its constructor may fail in any way
        first: BaseException = error
        while first.__cause__ is not None and not isinstance(first, UserError):
            first = first.__cause__
        if isinstance(first, UserError):  # the parser wraps what a constructor tells
            raise first from error
        told = str(error if isinstance(error, ArgumentError) else first)
        reason = runs.refused_import(told) or " ".join(told.split())
        raise UserError(f"the encoder that {config} describes cannot be built: {reason}") from error
    return built
