"""`dml search`: the images in an index that are most like the given ones, as a table, JSON or a page of thumbnails."""

import argparse
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from dml.cli.index import find_index, run_of
from dml.cli.shared.embedding import add_listing_options, list_all, open_embedder, tell_failures
from dml.cli.shared.json_output import add_json, json_text
from dml.cli.shared.numbers import memory, real, whole
from dml.cli.shared.options import Parser, add_trust
from dml.cli.shared.threshold import find_threshold
from dml.errors import UserError, printable

if TYPE_CHECKING:  # importing them loads torch or NumPy, which --help must not
    from dml.data.sources.listing import Listing
    from dml.search.artefact import Artefact
    from dml.search.embedder import RunEmbedder
    from dml.search.found import Found
    from dml.search.onnx_embedder import OnnxEmbedder
    from dml.search.remote.searching import RemoteStore
    from dml.search.store import Store

    Embeds = RunEmbedder | OnnxEmbedder

EPILOG = """examples:
  dml search first new.jpg -k 5                   the five images of runs/first/index.npz most like new.jpg
  dml search my.npz queries --html found.html     a folder of queries at once, with thumbnails
  dml search my.npz new.jpg --threshold 0.4 --json
  dml search first_artefact new.jpg               a folder of `dml export`; needs no torch
  dml search 'postgresql://me@db/images' new.jpg  an index in PostgreSQL, or Qdrant: qdrant://HOST:6333/COLLECTION

If a run was calibrated, queries without a match within that distance are unknown. --threshold sets another distance.
"""


def main(arguments: list[str]) -> int:
    """Search and print; return 0, or 1 if some queries cannot be read."""
    options = build_parser().parse_args(arguments)

    from dml.search.artefact import INDEX, Artefact, is_artefact
    from dml.search.remote.searching import RemoteStore
    from dml.search.reranking import Reranking
    from dml.search.searcher import Searcher
    from dml.search.store import EXACT

    artefact = Artefact.load(options.index) if is_artefact(options.index) else None
    path = artefact.folder / INDEX if artefact else find_index(options.index, None, options.runs_dir)[0]
    searcher = Searcher.load(path)
    if options.k > len(searcher):
        raise UserError(f"-k {options.k}: {searcher.store.path} holds {len(searcher)} images; give at most that many")
    if isinstance(searcher.store, RemoteStore) and searcher.store.about.factory != EXACT:
        told = f"its own index {searcher.store.about.factory}, which may miss neighbours"
        print(f"dml: {searcher.store.path} answers by {told}", file=sys.stderr)
    embedder = _open_embedder(artefact, searcher.store, options)

    from dml.neighbors.memory import parse_memory
    from dml.search.update import check_belongs

    check_belongs(searcher.store.about, embedder, searcher.store.path)
    searcher = Searcher(searcher.store, None, parse_memory(options.max_memory), options.augment, options.alpha)
    listings = list_all(options.images, options)
    names, rows, failures = _embed(embedder, listings)
    if not len(rows):
        raise UserError(f"none of {len(failures)} queries can be read, first '{failures[0][0]}' ({failures[0][1]})")
    reranking = Reranking() if options.rerank else None
    threshold, source = find_threshold(options, searcher.store, embedder)
    found = searcher(rows, options.k, threshold, options.expand, reranking)
    if options.html:
        _write_page(Path(options.html), names, listings, found)
    if options.json:
        print(json_text(_as_json(names, found, failures) | {"threshold_of": source or None}))
    else:
        print(result_table([printable(name) for name, _, _ in names], found))
        if options.html:
            print(f"\n{options.html}: {len(names)} queries with thumbnails")
    return tell_failures(failures)


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml search",
        description="Find the images in an index that are most like the given ones.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "index",
        metavar="INDEX",
        help="a .npz file of `dml index` or `dml predict`, a run that has one, a folder of `dml export`, an address",
    )
    parser.add_argument("images", nargs="+", metavar="PATH", help="images, folders, zips, tables, lists of files")
    parser.add_argument("-k", type=whole(least=1), default=5, metavar="K", help="how many images to find per query (5)")
    parser.add_argument(
        "--threshold", type=real(), metavar="X", help="leave out what is farther; a query without a match is unknown"
    )
    parser.add_argument("--no_threshold", action="store_true", help="call nothing unknown, even after calibration")
    add_json(parser)
    parser.add_argument("--html", metavar="FILE", help="also write a page with thumbnails")
    parser.add_argument("--run", help="the run that made the index, if it has moved")
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument("--ckpt_path", default="best", choices=("best", "last"), help="which weights to use (best)")
    parser.add_argument(
        "--max_memory", type=memory, default="1GiB", metavar="SIZE", help="memory for the search (1GiB)"
    )
    parser.add_argument(
        "--expand", type=whole(), default=0, metavar="N", help="move queries towards their N nearest (α-QE; 0)"
    )
    parser.add_argument(
        "--augment", type=whole(), default=0, metavar="N", help="move the index's rows towards their N nearest (DBA; 0)"
    )
    parser.add_argument(
        "--alpha",
        type=real(above=-1),
        default=3.0,
        metavar="X",
        help="exponent of the weights in --expand and --augment (3)",
    )
    parser.add_argument("--rerank", action="store_true", help="order by k-reciprocal neighbours (k1=20, k2=6, λ=0.3)")
    add_listing_options(parser)
    add_trust(parser)
    return parser


def _open_embedder(artefact: "Artefact | None", store: "Store | RemoteStore", options: argparse.Namespace) -> "Embeds":
    """Return the encoder of an exported folder, by ONNX, or that of the index's run."""
    if artefact is None:
        return open_embedder(options.run or run_of(store, options.runs_dir), options)
    if options.run or options.ckpt_path != "best" or options.device not in (None, "cpu"):
        raise UserError("an exported folder has its own encoder, on the CPU: leave --run, --ckpt_path and --device out")

    from dml.search.onnx_embedder import OnnxEmbedder

    return OnnxEmbedder(artefact)


def _embed(embedder: "Embeds", listings: "list[Listing]") -> tuple[list[tuple[str, int, int]], Any, Any]:
    """Return (name, listing, position) and embedding of every query, and the names and reasons of unreadable ones."""
    import numpy as np

    from dml.data.images.read import bar

    names: list[tuple[str, int, int]] = []
    blocks, failures = [], []
    with bar(sum(map(len, listings)), "embedding") as step:
        for number, listing in enumerate(listings):
            for batch in embedder.embed(listing, np.arange(len(listing))):
                failures += [(listing.names[at], reason) for at, reason in sorted(batch.failures.items())]
                names += [(listing.names[at], number, at) for at in batch.positions.tolist()]
                blocks += [batch.embeddings] if len(batch.positions) else []
                for _ in range(len(batch.positions) + len(batch.failures)):
                    step()
    return names, np.concatenate(blocks) if blocks else np.empty((0, 1), np.float32), failures


def result_table(names: list[str], found: "Found") -> str:
    """Return what was found as an aligned table, one line per match; a query without one is unknown."""
    lines: list[str] = []
    several = len(found.store.about.roots) > 1
    for query, name in enumerate(names):
        matches = found.matches(query)
        lines += [""] * bool(lines)
        lines.append(name if matches else f"{name}  unknown: the nearest is at {found.distances[query, 0]:.4f}")
        shown = [(match, printable(match.label), printable(match.shown(several))) for match in matches]
        width = max((len(label) for _, label, _ in shown), default=0)
        lines += [f"{m.rank:>4}  {m.distance:8.4f}  {label:<{width}}  {name}" for m, label, name in shown]
    return "\n".join(lines)


def _as_json(names: list[tuple[str, int, int]], found: "Found", failures: list[tuple[str, str]]) -> dict[str, Any]:
    queries = [
        {
            "query": name,
            "known": bool(found.known[number]),
            "nearest_distance": float(found.distances[number, 0]),
            "matches": [match._asdict() for match in found.matches(number)],
        }
        for number, (name, _, _) in enumerate(names)
    ]
    about = found.store.about
    return {
        "index": str(found.store.path),
        "metric": about.metric,
        "weights": about.weights,
        "threshold": found.threshold,
        "queries": queries,
        "unreadable": [{"query": name, "reason": reason} for name, reason in failures],
    }


def _write_page(output: Path, names: list[tuple[str, int, int]], listings: "list[Listing]", found: "Found") -> None:
    from dml import runs
    from dml.cli.shared.thumbnails import Thumbnails
    from dml.reports.search_page import Answer, Picture, search_page

    pictures, several = Thumbnails(), len(found.store.about.roots) > 1
    answers = []
    for number, (name, listing, at) in enumerate(names):
        matches = [
            Picture(pictures.stored(match.root, match.name), match.shown(several), match.label, match.distance)
            for match in found.matches(number)
        ]
        own = Picture(pictures.read(listings[listing].reader, at), name, listings[listing].labels[at])
        answers.append(Answer(own, matches, float(found.distances[number, 0])))
    told = f"{len(found.store)} images, metric {found.store.about.metric}"
    runs.write_bytes(output, search_page(PurePath(found.store.path).name, told, answers, found.threshold).encode())
