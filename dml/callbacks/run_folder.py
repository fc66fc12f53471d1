"""Writes a run's recipe and protocol when training is about to start: a run that fails earlier leaves nothing.

At the end of training, its cost is added to the protocol.
"""

import platform
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from dml import __version__, reports, runs
from dml.callbacks.run_logger import RunLogger
from dml.data import datamodule_of
from dml.errors import printable

_VERSIONS = ("torch", "torchvision", "lightning", "pytorch-metric-learning", "faiss-cpu", "scikit-learn", "numpy")


@final
class RunFolder(Callback):
    """Create the run folder with `config.yaml` and `protocol.json`.

    Args:
        run: The run folder.
        config: The complete recipe, as YAML.
        seed: The seed of everything.
        monitor: The validation score the best checkpoint is chosen by; None: the last one is the best.
        metric: The distance that scores embeddings.

    Example:
        >>> RunFolder(Path("runs/first"), "seed_everything: 0", seed=0, monitor="val/map_at_r").run.name
        'first'
    """

    def __init__(self, run: Path, config: str, seed: int, monitor: str | None, metric: str = "l2") -> None:
        self.run = run
        self._metric = metric
        self._config = config
        self._seed = seed
        self._monitor = monitor
        self._spent = (0.0, 0.0)  # before a resume
        self._begun = (0.0, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds that training has taken so far."""
        return {"spent": list(self._seconds())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds of the run that is resumed."""
        wall, processor = state_dict["spent"]
        self._spent = (wall, processor)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the run's logger the trainer whose steps it counts."""
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.follow(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add to the protocol what training cost."""
        if not trainer.is_global_zero:
            return
        wall, processor = self._seconds()
        cost: dict[str, Any] = {
            "training_seconds": round(wall, 2),  # validation while training and checkpoints included
            "processor_seconds": round(processor, 2),  # of this process, all its threads
            "peak_memory_bytes": _peak_memory(),  # of the process since it began
        }
        if pl_module.device.type == "cuda":
            cost["peak_cuda_memory_bytes"] = torch.cuda.max_memory_allocated(pl_module.device)
        protocol = runs.read_json(self.run / runs.PROTOCOL)
        runs.write_json(self.run / runs.PROTOCOL, protocol | {"cost": cost})

    def _seconds(self) -> tuple[float, float]:
        """Return wall and processor seconds of training so far."""
        wall, processor = _clock()
        return self._spent[0] + wall - self._begun[0], self._spent[1] + processor - self._begun[1]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write recipe and protocol."""
        self._begun = _clock()
        if not trainer.is_global_zero:
            return
        data = datamodule_of(trainer)
        about = {} if data is None else data.describe()
        if about:
            print(printable(_announce(about)), flush=True)
        protocol = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            runs.TRAINED_IN: runs.working_directory(self.run),
            "started_at_step": trainer.global_step,  # above 0 where the run was resumed
            "seed": self._seed,
            "data": about,
            "metric": self._metric,
            "best_checkpoint_chosen_by": self._monitor or "nothing: it is the last",
            "test_part_scored_before_by": runs.readings_of(self.run.parent, about["test_part"]) if about else {},
            "world_size": trainer.world_size,
            "device": _device_name(pl_module.device),
            "versions": {"dml": __version__, "python": platform.python_version()} | _versions(),
        }
        runs.write_json(self.run / runs.PROTOCOL, protocol)
        runs.write_bytes(self.run / runs.CONFIG, self._config.encode())
        runs.remember_trust(self._config.encode())
        for logger in trainer.loggers:
            logger.log_hyperparams(_plain(runs.parse_yaml(self._config, "the recipe")))


def _versions() -> dict[str, str]:
    """Return the versions of the libraries there are: FAISS for GPUs is a package of another name."""
    found = {}
    for library in _VERSIONS:
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def _plain(value: Any) -> Any:
    """Return nested values whose strings can be written as UTF-8, which a path need not be."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return reports.plain(value) if isinstance(value, str) else value


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _peak_memory() -> int | None:
    """Return the most memory this process has held, None if the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _announce(data: dict[str, Any]) -> str:
    shape = "×".join(map(str, data["image_shape"]))
    skipped, flawed = data.get("unreadable_images_left_out", 0), data.get("flawed_images_left_out", 0)
    return (
        f"{data['source']}: {data['trained_on']['images']} training images of {data['trained_on']['classes']} classes, "
        f"{data['held_back_images']['val']} for validation, {shape}"
        + (f"; {skipped} unreadable image{'s' * (skipped > 1)} left out" if skipped else "")
        + (f"; {flawed} flawed image{'s' * (flawed > 1)} left out" if flawed else "")
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
