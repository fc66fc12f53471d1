"""`dml audit`: check a data set before anyone trusts a score; exit code 3 if images leak between parts."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dml import runs
from dml.cli.recipe.messages import one_line
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.numbers import real
from dml.cli.shared.options import Parser, add_config, add_trust, check_aliases, with_split
from dml.errors import UserError, printable

if TYPE_CHECKING:  # importing them loads torch, which --help must not
    from dml.data import ImageData
    from dml.data.audit import Audit

LEAKS = 3  # the exit code
SHOWN = 10  # names of each kind that are printed; --output holds all

DARK = 32  # grey levels: as dml.data.images.flaws has it, which loads torch
MENDS = {
    "unreadable files": "left out by data.on_error=skip",
    "equal images of different classes": "data.on_flaw=skip leaves all of them out",
    "equal images of one class and part": "data.on_flaw=skip keeps the first of each",
    "images of one colour": "data.on_flaw=skip leaves them out",
}

EPILOG = """all other keys are those of the recipe's data (see dml fit --help): --data.root DIR, --data.image_size 64,
--data.seed N (draws the split), ...

examples:
  dml audit --data.root photos --data.image_size 64
  dml audit --config configs/flowers/triplet_mlp.yaml --data.root photos
  dml audit --run first --output audit.json
"""


def main(arguments: list[str]) -> int:
    """Print what was found; return 0, or 3 if the same or almost the same image is in two parts."""
    options, keys = build_parser().parse_known_args(arguments)
    configs = list(options.config)
    if options.run is not None:
        configs.insert(0, runs.recipe_text(runs.read_to_score(runs.find_run(options.run, options.runs_dir))))
    with json_alone(options.json) as print_json:
        data = read_data(configs, keys)

        from dml.cli.running.guards import quiet
        from dml.data.audit import audit_data

        quiet()
        found = audit_data(data, options.near)
        told = {"split_hash": data.split_hash, **found.as_dict()}
        print(describe(found, data.split_hash))
        if options.output:
            runs.write_json(Path(options.output), told)
        if options.json:
            print_json(told)
    return LEAKS if found.leaks else 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml audit",
        description="Class counts, lone classes, unreadable files, and duplicates across parts (exit code 3).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_config(parser)
    parser.add_argument("--run", help="the data of a run: its folder, its name, or latest")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument(
        "--near",
        type=real(above=-1),
        default=0.995,
        metavar="R",
        help="least correlation of near duplicates (0.995); 2 turns the search off",
    )
    parser.add_argument("--output", metavar="FILE", help="write everything found to a JSON file")
    add_json(parser)
    add_trust(parser)
    return parser


def read_data(configs: Sequence[str], keys: Sequence[str]) -> "ImageData":
    """Build the datamodule of a recipe's `data` block; unreadable images are listed unless the recipe says otherwise.

    Raises:
        UserError: a file cannot be read, or a key or value is wrong.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from dml.cli.running.guards import construction
    from dml.data import ImageData

    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(ImageData, "data", fail_untyped=False)  # other libraries' samplers name no types
    parser.set_defaults({"data.on_error": "skip", "data.on_flaw": "keep"})
    words, blocks = [], []
    for config in configs:
        recipe = runs.read_recipe_file(config)
        given = recipe.get("data") or {}
        if not isinstance(given, dict):
            raise UserError("the audit is of images: `data:` names a class of another kind")
        blocks.append(given)
        words.append(f"--data={json.dumps({'seed': recipe.get('seed_everything') or 0, **given})}")
    for key in keys:
        check_aliases(key)
    try:
        with runs.guarded_imports(), construction():
            parsed = parser.parse_args([*words, *with_split(keys, blocks)])
            runs.check_classes(parsed)
            data: ImageData = parser.instantiate(parsed).data
    except (ArgumentError, ImportError, AttributeError) as error:
        names = [option.removeprefix("--") for action in parser._actions for option in action.option_strings]
        raise UserError(one_line(str(error), [*names, "run", "runs_dir", "near", "output"])) from error
    return data


def describe(found: "Audit", split_hash: str) -> str:
    """Put an audit into lines for the terminal."""
    sizes = [sum(counts) for counts in found.class_counts.values()]
    lines = [
        ", ".join(f"{count} {part}" for part, count in found.images.items()) + f" images (split {split_hash})",
        f"{len(sizes)} classes of {min(sizes)} to {max(sizes)} images",
    ]
    facts: list[tuple[str, Sequence[str]]] = [
        ("classes with a single image", found.lone_classes),
        ("unreadable files", found.unreadable),
        ("equal images of different classes", [" = ".join(pair) for pair in found.contradictions]),
        ("equal images in different parts", [" = ".join(pair) for pair in found.exact]),
        ("almost equal images in different parts", [" ~ ".join(pair) for pair in found.near]),
        ("equal images of one class and part", [" = ".join(pair) for pair in found.repeated]),
        ("images of one colour", found.constant),
        ("images left out by data.on_flaw", found.left_out),
    ]
    for what, names in facts:
        mend = f" ({MENDS[what]})" if names and what in MENDS else ""
        lines.append(f"{what}: {len(names) or 'none'}{mend}")
        lines += [f"  {printable(name)}" for name in names[:SHOWN]]
        lines += [f"  and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    dark = f"{found.brightest} of 255 (too dark for bytes: name what is white by data.source's `white`)"
    lines.append(f"brightest pixel: {dark if found.brightest < DARK else found.brightest}")
    return "\n".join(lines)
