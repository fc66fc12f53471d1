"""Reads the recipe of a run; keys that have other names now are translated."""

from pathlib import Path
from typing import Any

import yaml

from dml.errors import UserError
from dml.runs.folder import CONFIG


def read_recipe(run: Path) -> dict[str, Any]:
    """Return a run's recipe as a run of today would have it.

    Raises:
        UserError: The run holds no readable recipe.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> _ = (run / CONFIG).write_text("data: {augmentation: {flip: 0.5}, labelled: 1.0}")
        >>> read_recipe(run)["data"]["labelled_share"]
        1.0
    """
    try:
        recipe = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{run} holds no readable {CONFIG} ({str(error).splitlines()[0]})") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{run / CONFIG} is not a recipe: restore it or run again")
    data = recipe.get("data")
    if isinstance(data, dict) and "class_path" not in data:
        recipe["data"] = _translated(data)
    return recipe


def recipe_argument(run: Path) -> str:
    """Return what `--config` is given for a run's recipe: its file, or today's text of an older one.

    Example:
        >>> recipe_argument(Path("no_runs_yet/first"))
        'no_runs_yet/first/config.yaml'
    """
    path = run / CONFIG
    if not path.is_file() or not {"augmentation", "labelled"} & _data_keys(path):
        return str(path)
    return yaml.safe_dump(read_recipe(run), sort_keys=False)


def _data_keys(path: Path) -> set[str]:
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return set()  # the parser tells what is wrong with the file
    data = recipe.get("data") if isinstance(recipe, dict) else None
    return set(data) if isinstance(data, dict) else set()


def _translated(data: dict[str, Any]) -> dict[str, Any]:
    """Return a data block with `augmentation` and `labelled` under their present names."""
    kept = {key: value for key, value in data.items() if key not in ("augmentation", "labelled")}
    if data.get("augmentation") is not None:
        kept["transform"] = {"class_path": "dml.data.Augmentation", "init_args": data["augmentation"]}
    if "labelled" in data:
        kept["labelled_per_class" if isinstance(data["labelled"], int) else "labelled_share"] = data["labelled"]
    return kept
