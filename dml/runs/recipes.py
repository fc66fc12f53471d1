"""Reads recipes, which may be a stranger's: plain YAML within bounds; old keys of a run's recipe are translated."""

import re
from pathlib import Path
from typing import Any

import yaml

from dml.errors import UserError
from dml.runs.folder import CONFIG
from dml.runs.own import trust_own
from dml.runs.places import with_places

_BYTES, _NODES = 2**18, 100_000  # of a recipe; aliases counted as often as they are used
_MAPPINGS = ("trainer", "evaluation", "pictures", "checkpoint")


class _Loader(yaml.SafeLoader):
    """Plain YAML as the parser of recipes reads it: 1e-4 is a number, a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, found) for tag, found in pairs if tag.rpartition(":")[2] not in {"timestamp", "float"}]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_DIGITS = r"[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\d[\d_]*(:[0-5]?\d)+\.[\d_]*|\.(inf|Inf|INF))"
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(rf"^(?:{_DIGITS}|\.[\d_]+([eE][-+]\d+)?|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Puts text that would be read as a number in quotes."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of plain YAML text; tags cannot make objects.

    Args:
        text: At most 256 KiB, and 100,000 values once its aliases are written out.
        where: Its file, for errors.

    Raises:
        UserError: The text is not YAML, asks for an object, is nested too deeply, or is larger than that.

    Example:
        >>> parse_yaml("lr: 1e-4", "recipe.yaml")
        {'lr': 0.0001}
        >>> parse_yaml("data: &a {again: *a}", "recipe.yaml")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: recipe.yaml refers to itself (YAML alias): write the value out
    """
    if len(text) > _BYTES:
        raise UserError(f"{where} holds {len(text)} characters: a recipe has at most {_BYTES}")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _count(node, {}, set(), where) > _NODES:
            raise UserError(f"{where} holds more than {_NODES} values once its aliases are written out: write fewer")
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply: a recipe has a few levels") from error
    finally:
        loader.dispose()


def read_yaml(source: str | Path) -> Any:
    """Return the content of a YAML file; a text of several lines stands for itself.

    Raises:
        UserError: There is no such file, it cannot be read, or see `parse_yaml`.

    Example:
        >>> read_yaml("nowhere.yaml")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no readable file nowhere.yaml (No such file or directory): give a YAML file
    """
    if isinstance(source, str) and "\n" in source:
        return parse_yaml(source, "the recipe")
    try:
        with Path(source).open("rb") as file:
            text = file.read(4 * _BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not text in UTF-8: give a YAML file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"no readable file {source} ({getattr(error, 'strerror', error)}): give a YAML file") from error
    return parse_yaml(text, str(source))


def read_recipe_file(source: str | Path) -> dict[str, Any]:
    r"""Return a recipe from its file, or from a text of several lines; an empty one changes nothing.

    Raises:
        UserError: It is not a recipe: blocks by name.

    Example:
        >>> read_recipe_file("trainer:\n  max_epochs: 3\n")
        {'trainer': {'max_epochs': 3}}
    """
    recipe = read_yaml(source)
    where = "the text" if "\n" in str(source) else str(source)
    if recipe is None:
        return {}
    if not isinstance(recipe, dict) or not all(isinstance(key, str) for key in recipe):
        raise UserError(f"{where} is not a recipe: expected YAML with blocks like `model:` and `data:`")
    for name in _MAPPINGS:
        if recipe.get(name) is not None and not isinstance(recipe[name], dict):
            raise UserError(f"`{name}:` of {where} is not a block of keys: write e.g. `{name}: {{}}`")
    return recipe


def read_recipe(run: Path) -> dict[str, Any]:
    """Return a run's recipe in today's form; one that was trained here trusts what it was trained with.

    Raises:
        UserError: The run holds no readable recipe, or one without its data or model.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> _ = (run / CONFIG).write_text("{model: {}, data: {augmentation: {flip: 0.5}, labelled: 1.0}}")
        >>> read_recipe(run)["data"]["labelled_share"]
        1.0
    """
    recipe = with_places(read_recipe_file(run / CONFIG), run)
    trust_own(run / CONFIG)
    for name in ("model", "data"):
        if not isinstance(recipe.get(name), dict | str):
            raise UserError(f"{run / CONFIG} has no block `{name}:`: restore it, or train the run again")
    data = recipe["data"]
    if isinstance(data, dict) and "class_path" not in data:
        recipe["data"] = _translated(data)
    return recipe


def recipe_argument(run: Path) -> str:
    """Return what to give `--config` for a run's recipe: its file, or its text in today's form with paths from here.

    Raises:
        UserError: See `read_recipe`.
    """
    path = run / CONFIG
    recipe = read_recipe(run)
    return str(path) if recipe == read_recipe_file(path) else recipe_text(recipe)


def recipe_text(recipe: dict[str, Any]) -> str:
    r"""Return a recipe as YAML of several lines, which `--config` accepts instead of a file.

    Example:
        >>> recipe_text({"data": {"root": "photos"}})
        'data:\n  root: photos\n'
    """
    text = str(yaml.dump(recipe, Dumper=_Dumper, sort_keys=False))
    return text if "\n" in text.strip() else f"{text}\n"


def _count(node: yaml.Node, known: dict[int, int], above: set[int], where: str) -> int:
    """Return how many values a node stands for, its aliases written out."""
    if id(node) in above:
        raise UserError(f"{where} refers to itself (YAML alias): write the value out")
    if id(node) not in known:
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = list(node.value)
        elif isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        above.add(id(node))
        known[id(node)] = 1 + sum(_count(child, known, above, where) for child in children)
        above.remove(id(node))
    return known[id(node)]


def _translated(data: dict[str, Any]) -> dict[str, Any]:
    """Return a data block with `augmentation` and `labelled` under their present names."""
    kept = {key: value for key, value in data.items() if key not in ("augmentation", "labelled")}
    if data.get("augmentation") is not None:
        kept["transform"] = {"class_path": "dml.data.Augmentation", "init_args": data["augmentation"]}
    if "labelled" in data:
        kept["labelled_per_class" if isinstance(data["labelled"], int) else "labelled_share"] = data["labelled"]
    return kept
