"""Checks what an exported folder promises: checksums, golden vectors, recall@1; no torch here."""

from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.data.sources.bounds import leads_outside
from dml.data.sources.files import Tree, open_tree
from dml.data.sources.listing import Listing
from dml.errors import UserError, printable
from dml.export.golden import (
    COSINE,
    Queries,
    agreements,
    largest_error,
    read_golden,
    read_queries,
)
from dml.export.recall import nearest_hits, recall_at_1, undecided
from dml.search.artefact import CLASSES, GOLDEN, INDEX, VALIDATION, Artefact
from dml.search.onnx_embedder import OnnxEmbedder
from dml.search.store import Store


@final
class Check(NamedTuple):
    """One thing that was looked at: whether it holds, and what was found."""

    name: str
    holds: bool
    told: str


def verify_artefact(folder: str | Path, root: str | None = None) -> list[Check]:
    """Return what an exported folder promises, and whether each promise holds.

    Checksums of all files; the cosine of every golden vector with what ONNX gives for its image, above 0.9999;
    recall@1 of the golden images in the index by ONNX, equal to torch's; and the same for all validation images, if
    they are available. What cannot be checked because something else failed is left out.

    Args:
        folder: Written by `dml export`.
        root: The folder or zip of the images the run was trained on; None: where the run had it, if it is still there.

    Raises:
        UserError: It is not an artefact, onnxruntime is missing, or there is no such `root`.
    """
    artefact = Artefact.load(folder)
    checks = [_check_files(artefact)]
    if not checks[0].holds:
        return checks
    try:
        embedder = OnnxEmbedder(artefact)
    except UserError as refused:
        if "not installed" in str(refused):
            raise
        return [*checks, Check("encoder", False, str(refused))]
    golden = read_golden(artefact.folder / GOLDEN)
    shape = golden.images.shape[1:]
    channels, height, width = artefact.image_shape
    if shape != (height, width, channels) or golden.embeddings.shape[1] != artefact.embedding_dim:
        return [*checks, Check("golden vectors", False, f"they are of images of shape {shape}, not this encoder's")]
    rows = embedder.embed_pixels(golden.images)
    least = float(agreements(rows, golden.embeddings, artefact.metric).min())
    told = f"least cosine of {len(rows)}: {least:.8f}, above {COSINE} is asked for"
    checks.append(Check("golden vectors", least > COSINE, told))
    index = _Index(artefact)
    error = largest_error(rows, golden.embeddings, artefact.metric)
    checks.append(index.compare(f"recall@1 of {len(rows)} images inside", rows, golden.queries, error))
    queries = read_queries(artefact.folder / VALIDATION)
    found = _find_images(artefact, queries.names.tolist(), root)
    if found is not None:
        checks.append(_check_validation(index, embedder, *found, queries, error))
    return checks


class _Index:
    """The index of an artefact, with the labels of its rows as `classes.json` numbers them."""

    def __init__(self, artefact: Artefact) -> None:
        store = Store(artefact.folder / INDEX)
        classes = runs.read_json(artefact.folder / CLASSES)
        if store.about.weights != artefact.weights or not isinstance(classes, list):
            raise UserError(f"{artefact.folder / INDEX} is of another encoder than this artefact: export the run again")
        number = {name: at for at, name in enumerate(classes)}
        own = np.array([number.get(name, -1) for name in store.class_names], np.int64)
        self.rows, self.labels = np.array(store.embeddings), own[np.asarray(store.labels)]
        self.metric = artefact.metric

    def compare(self, name: str, rows: NDArray[np.float32], queries: Queries, error: float) -> Check:
        """Compare recall@1 of rows by ONNX with what torch found, query by query."""
        hits = nearest_hits(rows, queries.labels, queries.own, self.rows, self.labels, self.metric)
        return compare_hits(name, rows, hits, queries, self.rows, self.labels, self.metric, error)


def compare_hits(
    name: str,
    rows: NDArray[np.float32],
    hits: NDArray[np.float64],
    queries: Queries,
    references: NDArray[np.float32],
    reference_labels: NDArray[np.int64],
    metric: str,
    error: float,
) -> Check:
    """Return whether recall@1 is equal; queries decided by rounding are reported, and may differ.

    Args:
        name: Of the check.
        rows: (Q,D) by ONNX.
        hits: (Q,) by ONNX.
        queries: With torch's hits.
        references: (R,D) by ONNX.
        reference_labels: (R,).
        metric: `l2` or `cosine`.
        error: The largest distance between an embedding by ONNX and by torch.
    """
    differ = np.flatnonzero(~np.isclose(hits, queries.hits, rtol=0, atol=1e-12, equal_nan=True))
    wrong = [
        at
        for at in differ.tolist()
        if not undecided(
            *(rows[at], int(queries.labels[at]), int(queries.own[at]), references, reference_labels, metric, error)
        )
    ]
    told = f"ONNX {recall_at_1(hits):.6f}, torch {recall_at_1(queries.hits):.6f}"
    if wrong:
        first = printable(str(queries.names[wrong[0]]))
        return Check(name, False, f"{told}: {len(wrong)} of {len(hits)} queries differ, first '{first}'")
    if len(differ):
        told += f"; {len(differ)} queries differ whose nearest of two classes are equally far but for rounding"
    return Check(name, True, told)


def _check_files(artefact: Artefact) -> Check:
    wrong = []
    for name in artefact.files:
        try:
            artefact.read(name)
        except UserError as error:
            wrong.append(str(error))
    if missing := {CLASSES, GOLDEN, INDEX, VALIDATION} - artefact.files.keys():
        wrong.append(f"the manifest names no {min(missing)}")
    return Check("checksums", not wrong, "; ".join(wrong) or f"{len(artefact.files)} files are as they were exported")


def _find_images(artefact: Artefact, names: list[str], root: str | None) -> tuple[Tree, list[str]] | None:
    """Return the run's images and their names there; None if no root is given and the run's own is gone."""
    told: Any = artefact.about.get("source") if root is None else root
    if not isinstance(told, str) or not names:
        return None
    place = Path(told).expanduser()
    place = place.parent if place.suffix.lower() in (".csv", ".parquet") else place
    if root is None and not (place.is_dir() or (place.suffix.lower() == ".zip" and place.is_file())):
        return None
    if outside := [name for name in names if leads_outside(name)]:
        raise UserError(f"{artefact.folder / VALIDATION}: the name {printable(outside[0])!r} leads out of its folder")
    tree = open_tree(str(place))
    if _holds(tree, names[0]):
        return tree, names
    if root is None:
        return None
    wrapped = [file.removesuffix(names[0]) for file in tree.names() if file.endswith(f"/{names[0]}")]
    return tree, [f"{wrapped[0]}{name}" for name in names] if wrapped else names


def _holds(tree: Tree, name: str) -> bool:
    try:
        tree.read(name)
    except OSError:
        return False
    return True


def _check_validation(
    index: _Index, embedder: OnnxEmbedder, tree: Tree, names: list[str], queries: Queries, error: float
) -> Check:
    name = f"recall@1 of all {len(names)} validation images"
    nothing = [""] * len(names)
    listing = Listing(str(tree.root), names, nothing, nothing, tree.reader(names))
    blocks, failures = [], dict[int, str]()
    for batch in embedder.embed(listing, np.arange(len(names))):
        blocks += [batch.embeddings] if len(batch.positions) else []
        failures |= batch.failures
    if failures:
        first = min(failures)
        told = f"{len(failures)} cannot be read below {tree.root}, first '{printable(names[first])}'"
        return Check(name, False, f"{told} ({failures[first]})")
    return index.compare(name, np.concatenate(blocks), queries, error)
