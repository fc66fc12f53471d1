"""`dml list`: what there is to choose from, one line each, read from the sources' first lines without loading torch."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dml.cli.shared.json_output import json_text
from dml.cli.shared.options import Parser
from dml.runs.score_names import score_names
from dml.runs.shipped import shipped_recipes

_PACKAGE = Path(__file__).parents[1]


class Kind(NamedTuple):
    """Where things of a kind are defined, the base classes that mark them, what exports them, and what else to say.

    If nothing exports them, each is named by its own module.
    """

    files: str
    bases: frozenset[str]
    prefix: str
    more: str


KINDS: Mapping[str, Kind] = {
    "encoders": Kind(
        "encoders/*.py",
        frozenset({"Encoder", "WrappedEncoder"}),
        "dml.encoders",
        "--model.encoder CLASS; your own by class_path",
    ),
    "heads": Kind("heads.py", frozenset({"nn.Module"}), "dml.heads", "--model.head CLASS"),
    "decoders": Kind("decoders.py", frozenset({"Decoder"}), "dml.decoders", "--model.decoder CLASS"),
    "losses": Kind(
        "losses/*.py",
        frozenset({"nn.Module"}),
        "dml.losses",
        "--model.loss CLASS; every loss of pytorch_metric_learning.losses too, and your own by class_path",
    ),
    "samplers": Kind(
        "data/samplers/*.py",
        frozenset({"EpochBatches"}),
        "",
        "data.classes_per_batch null: random; a number or auto: class-balanced; --data.sampler CLASS: any other",
    ),
    "transforms": Kind(
        "data/transforms/*.py",
        frozenset({"AddressedTransform", "ViewTransform"}),
        "dml.data",
        "--data.transform CLASS; any batch transform by class_path, torchvision's through dml.data.PerImage",
    ),
    "splits": Kind("data/splits/*.py", frozenset({"Split"}), "dml.data", "--data.split CLASS"),
    "data": Kind(
        "data/sources/*.py",
        frozenset({"Source", "FileSource"}),
        "dml.data",
        "not needed with --data.root FOLDER|ZIP|TABLE|ARRAYS; --data.source CLASS names one",
    ),
}
OTHERS = {"scores": "as they appear in scores.json", "recipes": "--config NAME, or a file of your own"}


def main(arguments: list[str]) -> int:
    """Print the names of one kind, each with its description; return 0."""
    options = build_parser().parse_args(arguments)
    listed = [options.what] if options.what else [*KINDS, *OTHERS]
    if options.json:
        print("\n".join(json_text({what: choices(what)}, indent=None) for what in listed))
    else:
        print("\n\n".join(map(told, listed)))
    return 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(prog="dml list", description="List what there is to choose from.", allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=[*KINDS, *OTHERS], help="what to list (everything)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    return parser


def choices(what: str) -> dict[str, str]:
    """Return what there is of a kind, each with its description.

    Args:
        what: A word that `dml list` takes.

    Example:
        >>> choices("heads")["dml.heads.MLPHead"]
        'Fully connected layers with ReLU between them.'
    """
    if what == "scores":
        return score_names()
    return recipes() if what == "recipes" else dict(sorted(_found(KINDS[what])))


def told(what: str) -> str:
    """Return the choices of a kind as lines for a terminal."""
    rows, more = choices(what), KINDS[what].more if what in KINDS else OTHERS[what]
    width = max((len(name) for name in rows), default=0)
    return "\n".join([f"{what}: {more}", *(f"  {name:<{width}}  {line}".rstrip() for name, line in rows.items())])


def _found(kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield class path and first line of classes with a base of the kind, and of functions that make such an object."""
    for file in sorted(_PACKAGE.glob(kind.files)):
        own = ".".join(file.relative_to(_PACKAGE.parent).with_suffix("").parts)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                marks = {ast.unparse(base) for base in node.bases}
            elif isinstance(node, ast.FunctionDef) and kind.prefix == "dml.encoders":
                marks = {ast.unparse(node.returns)} if node.returns else set()
            else:
                continue
            if (
                marks & kind.bases
                and "ABC" not in marks
                and node.name not in kind.bases
                and _is_offered(node.name, kind)
            ):
                yield f"{kind.prefix or own}.{node.name}", first_line(ast.get_docstring(node))


def _is_offered(name: str, kind: Kind) -> bool:
    """Tell whether the module that exports a kind offers a name; without such a module, whether the name is public."""
    if not kind.prefix:
        return not name.startswith("_")
    package = _PACKAGE.joinpath(*kind.prefix.split(".")[1:])
    front = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    return f'"{name}"' in front.read_text(encoding="utf-8") or (front.name != "__init__.py" and name[0] != "_")


def first_line(text: str | None) -> str:
    """Return the first paragraph of a docstring on one line.

    Example:
        >>> first_line("Embed an image.")
        'Embed an image.'
    """
    return " ".join((text or "").split("\n\n")[0].split())


def recipes() -> dict[str, str]:
    """Return the recipes that come with dml, each with its first comment line.

    Example:
        >>> recipes()["data/mnist"]
        'MNIST: 70,000 handwritten digits, 28×28 grey; 60,000 train, 10,000 test.'
    """
    found = {}
    for name, file in shipped_recipes().items():
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        found[name] = first.removeprefix("#").strip().partition(": `dml")[0].rstrip(":") if first[:1] == "#" else ""
    return found
