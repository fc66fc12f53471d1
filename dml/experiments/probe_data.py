"""The images an encoder is probed on: its run's, with the run's split and few labels; no pixels are read."""

from argparse import ArgumentError
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np
from jsonargparse import ArgumentParser

from dml.data import ImageData
from dml.data.catalog import Catalog
from dml.data.renamed import name_renamed_keys
from dml.data.sources.detect import choose_source
from dml.data.splits.assign import assign_parts
from dml.errors import UserError
from dml.runs import check_classes, guarded_imports, refused_import


class Counts(NamedTuple):
    """How many images train, and of the class that has fewest."""

    images: int
    smallest_class: int


@final
class ProbeData:
    """The data block of the probes' recipes and the counts it gives.

    The split is the run's own under every seed, so that no image the encoder was trained on is scored; the seed of a
    probe chooses the labelled images, the head's first weights and the batches.

    Args:
        block: The `data` part of a recipe, its split named with a seed.
        catalog: The catalog of its source.
        data: The datamodule of that block.

    Raises:
        UserError: The split keeps classes apart: no head can name a class it never saw.
    """

    def __init__(self, block: dict[str, Any], catalog: Catalog, data: ImageData) -> None:
        self.block = block
        self.num_classes = len(catalog.class_names)
        self._catalog, self._data = catalog, data
        if assign_parts(catalog, data.split, None, 1.0, 0, [])[0].class_disjoint:
            raise UserError(
                "the run's split keeps classes apart, so no head can name the held-back ones: "
                "set data.split to dml.data.StratifiedSplit"
            )

    def counts(self, labelled: int | float, seed: int) -> Counts:
        """Return the counts under a number of labels and a seed.

        Raises:
            UserError: There are fewer labels than that, or a class is left empty.
        """
        keys = labelled_keys(labelled)
        per_class, share = keys["labelled_per_class"], keys["labelled_share"]
        train = assign_parts(self._catalog, self._data.split, per_class, share, seed, [])[0].train
        sizes = np.bincount(self._catalog.labels[train])
        return Counts(len(train), int(sizes[sizes > 0].min()))


def labelled_keys(labelled: int | float) -> dict[str, Any]:
    """Return the data keys of a probe's amount of labels: images of each class (int) or a share of each (float).

    Example:
        >>> labelled_keys(5), labelled_keys(0.1)
        ({'labelled_per_class': 5, 'labelled_share': 1.0}, {'labelled_per_class': None, 'labelled_share': 0.1})
    """
    whole = isinstance(labelled, int)
    return {"labelled_per_class": labelled if whole else None, "labelled_share": 1.0 if whole else labelled}


def open_data(recipe: dict[str, Any], keys: Sequence[str]) -> ProbeData:
    """Read the data part of a run's recipe, as changed by `--data.KEY VALUE` words.

    Args:
        recipe: The run's config.yaml.
        keys: Words of the command line; other keys are passed over.

    Raises:
        UserError: A key is wrong, or the images are gone.
    """
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(ImageData, "data", fail_untyped=False)  # other libraries' samplers name no types
    try:
        with guarded_imports():
            parsed = parser.parse_object({"data": {k: v for k, v in recipe["data"].items() if k != "seed"}})
            parsed = parser.parse_args(_of_data(keys), namespace=parsed)
            check_classes(parsed)
            data: ImageData = parser.instantiate(parsed).data
    except ArgumentError as error:
        reason = refused_import(str(error)) or name_renamed_keys(" ".join(str(error).split()))
        raise UserError(f"the run's data cannot be opened: {reason}") from error
    catalog = choose_source(data.root, data.source).open()
    block = {k: v for k, v in parsed.as_dict()["data"].items() if k not in ("seed", *labelled_keys(1))}
    if block["split"] is None:
        kind = "OfficialSplit" if catalog.parts else "StratifiedSplit"
        block["split"] = {"class_path": f"dml.data.{kind}", "init_args": {}}
    arguments = block["split"].setdefault("init_args", {})
    if arguments.get("seed") is None:
        arguments["seed"] = int(recipe["seed_everything"])
    block |= {"classes_per_batch": None, "drop_last": False, "sampler": None}
    with guarded_imports():
        final = parser.instantiate(parser.parse_object({"data": block})).data
    return ProbeData(block, catalog, final)


def _of_data(keys: Sequence[str]) -> list[str]:
    """Return the words that belong to `--data.` keys."""
    chosen: list[str] = []
    for place, word in enumerate(keys):
        if word.startswith("--data."):
            chosen.append(word)
            if "=" not in word and place + 1 < len(keys):
                chosen.append(keys[place + 1])
    return chosen
