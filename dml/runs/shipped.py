"""Finds the recipes that come with dml by name, from any folder."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with dml, by name.

    Example:
        >>> "flowers/triplet_conv" in shipped_recipes()
        True
    """
    inside, beside = _PACKAGE / "configs", _PACKAGE.parent / "configs"  # installed; a clone
    folder = inside if inside.is_dir() or not (_PACKAGE.parent / "pyproject.toml").exists() else beside
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.glob("**/*.yaml"))}


def recipe_file(name: str) -> str:
    """Return the path of a recipe: the file of that path, else the one that comes with dml under that name.

    Args:
        name: A path; or `flowers/triplet_conv`, with or without `configs/` before it and `.yaml` behind; or a recipe's
            text, which has more than one line.

    Returns:
        The path found, else the name as it is.

    Example:
        >>> Path(recipe_file("flowers/triplet_conv")).name
        'triplet_conv.yaml'
        >>> recipe_file("nothing_of_that_name")
        'nothing_of_that_name'
    """
    if "\n" in name or Path(name).exists():
        return name
    found = shipped_recipes().get(name.removeprefix("configs/").removesuffix(".yaml"))
    return name if found is None else str(found)
