"""A run's queries and references: their embeddings by torch and by ONNX, and whether these agree."""

from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from dml.data import ImageData
from dml.data.images.read import bar
from dml.data.splits.splits import queries_and_references
from dml.embeddings import find_ids
from dml.errors import UserError
from dml.export.golden import COSINE, Queries, agreements, largest_error
from dml.export.graph import PixelEncoder
from dml.export.recall import nearest_hits
from dml.export.verify import Check, compare_hits
from dml.search.artefact import ENCODER
from dml.search.onnx_embedder import open_session, run_session

_BATCH = 64  # images at a time
Ids = NDArray[np.int64]


@final
class Rows(NamedTuple):
    """Images of a part: their ids, labels and names, and their embeddings by torch and by ONNX."""

    ids: Ids
    labels: Ids
    names: NDArray[np.str_]
    torch: NDArray[np.float32]
    onnx: NDArray[np.float32]


def pixels_of(data: ImageData, ids: Ids) -> NDArray[np.uint8]:
    """Return decoded images, uint8 (n,H,W,C)."""
    blocks = [data.thumbnails(ids[at : at + _BATCH]).numpy() for at in range(0, len(ids), _BATCH)]
    return np.ascontiguousarray(np.concatenate(blocks).transpose(0, 2, 3, 1))


def embed_parts(network: PixelEncoder, content: bytes, data: ImageData) -> tuple[Rows, Rows]:
    """Return queries and references; the same object where the queries are searched among themselves."""
    part = data.parts.val if len(data.parts.val) else data.parts.train
    query_ids, reference_ids = queries_and_references(data.catalog, data.parts.train, part)
    session = open_session(content, ENCODER, max(1, torch.get_num_threads()))
    with bar(len(query_ids) + len(reference_ids), "embedding") as step:

        def rows(ids: Ids) -> Rows:
            ours, theirs = [], []
            for at in range(0, len(ids), _BATCH):
                images = pixels_of(data, ids[at : at + _BATCH])
                with torch.inference_mode():
                    ours.append(network(torch.from_numpy(images)).numpy())
                theirs.append(run_session(session, images))
                for _ in range(len(images)):
                    step()
            found = data.catalog.labels[ids], data.names_of(ids), np.concatenate(ours), np.concatenate(theirs)
            return Rows(ids, *found)

        queries = rows(query_ids)
        return queries, rows(reference_ids) if len(reference_ids) else queries


def compare_rows(queries: Rows, references: Rows, metric: str) -> tuple[list[Check], float]:
    """Return whether torch and ONNX give the same rows, and the largest distance between two of an image."""
    parts = [queries] if references is queries else [queries, references]
    ours, theirs = (np.concatenate([getattr(part, by) for part in parts]) for by in ("torch", "onnx"))
    if not np.isfinite(ours).all():
        raise UserError("the encoder gives NaN or infinity for some images: train the run again")
    least = float(agreements(theirs, ours, metric).min())
    told = f"least cosine of {len(ours)} images: {least:.8f}, above {COSINE} is asked for"
    return [Check("embeddings", least > COSINE, told)], largest_error(ours, theirs, metric)


def ask(queries: Rows, references: Rows, metric: str) -> Queries:
    """Return what torch's embeddings of the queries find among the references."""
    own = find_ids(queries.ids, references.ids)
    hits = nearest_hits(queries.torch, queries.labels, own, references.torch, references.labels, metric)
    return Queries(queries.names, queries.labels, own, hits)


def compare_recall(queries: Rows, references: Rows, asked: Queries, metric: str, error: float) -> Check:
    """Return whether ONNX's embeddings find the same."""
    hits = nearest_hits(queries.onnx, queries.labels, asked.own, references.onnx, references.labels, metric)
    name = f"recall@1 of {len(hits)} validation images"
    return compare_hits(name, queries.onnx, hits, asked, references.onnx, references.labels, metric, error)
