"""Trains in stages, each passing its encoder to the next by the hash of its weights, with and without the first.

Every stage is a run of its own; one that has ended is recorded and not run again.
"""

import copy
from pathlib import Path
from typing import Any, NamedTuple, final

import yaml

from dml import runs
from dml.encoders import encoder_hash, pretrained_encoder
from dml.errors import UserError
from dml.experiments.jobs import JobError, Start, run_fit

RECORD = "stages.json"


class Stage(NamedTuple):
    """A name and a complete recipe; the encoder of later stages is put in."""

    name: str
    recipe: dict[str, Any]


def read_stages(file: Path) -> list[Stage]:
    """Read `stages:`, a list of `name` with `recipe` (inline) or `config` (a file, relative to this one).

    The first stage describes the encoder; a later recipe leaves it out or has the same.

    Raises:
        UserError: The file is missing or does not have that form.

    Example:
        >>> read_stages(Path("nowhere.yaml"))
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no file nowhere.yaml: give a YAML file with `stages:`
    """
    content = _read(file)
    listed = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(listed, list) or len(listed) < 2:
        raise UserError(f"{file} needs `stages:`, a list of at least two with `name` and `recipe` or `config` each")
    stages = []
    for number, entry in enumerate(listed, 1):
        if not isinstance(entry, dict) or "name" not in entry or len(entry.keys() & {"recipe", "config"}) != 1:
            raise UserError(f"stage {number} of {file} needs a `name` and either a `recipe` or a `config`")
        recipe = entry["recipe"] if "recipe" in entry else _read(file.parent / str(entry["config"]))
        if not isinstance(recipe, dict) or not isinstance(recipe.get("model"), dict):
            raise UserError(f"stage {entry['name']!r} of {file} describes no model")
        stages.append(Stage(str(entry["name"]), recipe))
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names) or any(name != Path(name).name for name in names):
        raise UserError(f"the stages of {file} need different names, each good for a folder")
    if "encoder" not in stages[0].recipe["model"].get("init_args", {}):
        raise UserError(f"the first stage of {file} describes no encoder to pass on")
    return stages


@final
class Stages:
    """The chains of one folder: `all` the stages, and `without_FIRST`, which starts with the second one untrained.

    Args:
        folder: `runs/NAME`, which holds a run for every stage of every chain, and `stages.json`.
        stages: In order.
        keys: `--KEY VALUE` words handed on to every stage.

    Raises:
        UserError: The folder holds other stages.
    """

    def __init__(self, folder: Path, stages: list[Stage], keys: list[str]) -> None:
        self.folder = folder.resolve()
        self.stages = stages
        self.keys = keys
        first = stages[0]
        self.encoder = first.recipe["model"]["init_args"]["encoder"]
        self.chains = {"all": stages, f"without_{first.name}": stages[1:]}
        self.path = self.folder / RECORD
        recipes = {stage.name: stage.recipe for stage in stages}
        known = runs.read_json(self.path) if self.path.exists() else {"recipes": recipes, "keys": keys, "runs": {}}
        if known["recipes"] != recipes or known["keys"] != keys:
            raise UserError(f"{folder} holds other stages or other keys: choose another folder")
        self.content: dict[str, Any] = known

    def left(self) -> list[tuple[str, int]]:
        """Return the stages that have not ended, as (chain, position in it)."""
        places = [(chain, place) for chain, stages in self.chains.items() for place in range(len(stages))]
        return [(chain, place) for chain, place in places if self._name(chain, place) not in self.content["runs"]]

    def run_stage(self, chain: str, place: int, start: Start) -> str:
        """Run one stage on what the stage before left, record it, and return its run's name.

        Raises:
            UserError: The stage failed, or the encoder of the stage before is no longer the one recorded.
        """
        name, stage = self._name(chain, place), self.chains[chain][place]
        handed = self._handed(chain, place)
        recipe, log = self.folder / "recipes" / f"{name}.yaml", self.folder / "logs" / f"{name}.txt"
        runs.write_bytes(recipe, yaml.safe_dump(self._recipe(stage, handed)).encode())
        try:
            run_fit(self.folder / name, ["--config", str(recipe), *self.keys], log, start)
        except JobError as error:
            raise UserError(f"stage {name} failed: {error} (log: {log})") from error
        self._record(name, stage, handed)
        return name

    def _record(self, name: str, stage: Stage, handed: dict[str, str] | None) -> None:
        run = self.folder / name
        protocol = runs.read_json(run / runs.PROTOCOL)
        runs.write_json(run / runs.PROTOCOL, {**protocol, "stage": stage.name, "encoder_from": handed})
        encoder = encoder_hash(pretrained_encoder(str(run)))
        scores = runs.read_json(run / runs.SCORES)["val"]
        self.content["runs"][name] = {"stage": stage.name, "encoder_from": handed, "encoder": encoder, "val": scores}
        runs.write_json(self.path, self.content)

    def _handed(self, chain: str, place: int) -> dict[str, str] | None:
        """Return run and hash of the previous stage's encoder, checked; None for the first of a chain."""
        if place == 0:
            return None
        name = self._name(chain, place - 1)
        found, recorded = (
            encoder_hash(pretrained_encoder(str(self.folder / name))),
            self.content["runs"][name]["encoder"],
        )
        if found != recorded:
            raise UserError(
                f"the encoder of {self.folder / name} is {found}, recorded was {recorded}: it was changed since; "
                "choose another folder to train all stages again"
            )
        return {"run": name, "encoder": recorded}

    def _recipe(self, stage: Stage, handed: dict[str, str] | None) -> dict[str, Any]:
        recipe = copy.deepcopy(stage.recipe)
        block: Any = self.encoder
        if handed is not None:
            run = str(self.folder / handed["run"])
            block = {"class_path": "dml.encoders.pretrained_encoder", "init_args": {"run": run}}
        recipe["model"].setdefault("init_args", {})["encoder"] = block
        return recipe

    def _name(self, chain: str, place: int) -> str:
        return f"{chain}-{self.chains[chain][place].name}"


def _read(file: Path) -> Any:
    if not file.is_file():
        raise UserError(f"no file {file}: give a YAML file with `stages:`")
    return runs.read_yaml(file)
