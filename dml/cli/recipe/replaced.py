"""Drops from a recipe what a key on the command line replaces: a new loss does not inherit the old one's margin."""

from collections.abc import Sequence
from typing import Any

from dml import runs

# Encoders and optimisers are not among them: embedding_dim and lr mean the same for all.
_BLOCKS = (
    ("model", "loss"),
    ("model", "miner"),
    ("model", "lr_scheduler"),
    ("data", "source"),
    ("data", "split"),
    ("data", "sampler"),
    ("data", "transform"),
)


def without_replaced(config: str, keys: Sequence[str]) -> str:
    """Return a recipe without the arguments of classes that keys replace with others.

    The parser would pass on every argument that the new class also accepts: a triplet loss's margin of 0.5 to a loss
    whose margin is an angle.

    Args:
        config: A recipe's file, or its text.
        keys: `--KEY VALUE` or `--KEY=VALUE`.

    Returns:
        The same if nothing is replaced, else the recipe's text.

    Example:
        >>> loss = {"class_path": "a.A", "init_args": {"margin": 1}}
        >>> text = runs.recipe_text({"model": {"init_args": {"loss": loss}}})
        >>> print(without_replaced(text, ["--model.loss", "b.B"]))
        model:
          init_args:
            loss:
              class_path: b.B
        <BLANKLINE>
        >>> without_replaced(text, ["--model.loss", "a.A"]) == text
        True
    """
    recipe, changed = runs.read_recipe_file(config), False
    for section, name in _BLOCKS:
        wanted = _given(f"--{section}.{name}", keys)
        holder = _arguments(recipe.get(section))
        block = holder.get(name)
        if wanted and isinstance(block, dict) and _named(block.get("class_path")) != _named(wanted):
            holder[name] = {"class_path": wanted}
            changed = True
    return runs.recipe_text(recipe) if changed else config


def _given(key: str, keys: Sequence[str]) -> str:
    """Return the class that a key is given, "" if it is given none."""
    found = ""
    for number, word in enumerate(keys):
        name, equals, value = word.partition("=")
        if name in (key, f"{key}.class_path"):
            found = value if equals else keys[number + 1] if number + 1 < len(keys) else ""
    return found if found.replace(".", "").replace("_", "").isalnum() and found != "null" else ""


def _arguments(section: Any) -> dict[str, Any]:
    """Return the arguments of a section, whether it names its class or not."""
    if not isinstance(section, dict):
        return {}
    inner = section.get("init_args")
    return inner if isinstance(inner, dict) else section


def _named(class_path: Any) -> str:
    return str(class_path).rpartition(".")[2]
