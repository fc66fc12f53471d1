"""Recipes as flat tables of keys, in the form of the command line, and what differs between several."""

from collections.abc import Mapping
from typing import Any


def flat_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a recipe by their keys: a class by its last name, its arguments behind it.

    Args:
        recipe: As `config.yaml` holds it.

    Example:
        >>> encoder = {"class_path": "dml.encoders.ConvEncoder", "init_args": {"channels": [8, 16]}}
        >>> flat_recipe({"model": {"encoder": encoder}, "seed_everything": 0})
        {'model.encoder': 'ConvEncoder', 'model.encoder.channels': [8, 16], 'seed_everything': 0}
    """
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        _flatten(key, value, found)
    return found


def differing_keys(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the keys whose values differ between recipes, with each recipe's value; "" if it has no such key.

    Args:
        recipes: By name, as `config.yaml` holds them.

    Example:
        >>> differing_keys({"a": {"k": 5, "seed": 0}, "b": {"k": 7, "seed": 0}})
        {'k': {'a': '5', 'b': '7'}}
    """
    flat = {name: flat_recipe(recipe) for name, recipe in recipes.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    rows = {key: {name: _told(values[key]) if key in values else "" for name, values in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if len(set(row.values())) > 1}


def _flatten(key: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and "class_path" in value:
        found[key] = str(value["class_path"]).rpartition(".")[2]
        for part in ("init_args", "dict_kwargs"):
            for name, inner in (value.get(part) or {}).items():
                _flatten(f"{key}.{name}", inner, found)
    elif isinstance(value, Mapping) and value:
        for name, inner in value.items():
            _flatten(f"{key}.{name}", inner, found)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for at, inner in enumerate(value):
            _flatten(f"{key}.{at}", inner, found)
    else:
        found[key] = value


def _told(value: Any) -> str:
    return "none" if value is None else str(value)
