"""`dml index`: a saved index of a run's embeddings of any images; images can be added and removed later."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dml import runs
from dml.cli.shared.embedding import add_listing_options, list_all, open_embedder, tell_failures, told_change
from dml.cli.shared.json_output import add_json, json_alone
from dml.cli.shared.options import Parser, add_trust
from dml.cli.shared.threshold import kept_calibration, told_threshold
from dml.errors import UserError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dml.search import Change
    from dml.search.remote.searching import RemoteStore
    from dml.search.store import Store
    from dml.search.structure import Measured

INDEX = "index.npz"  # in the run's folder

EPILOG = """examples:
  dml index first --add photos                    an index of all images of a folder: runs/first/index.npz
  dml index first --add more.zip --output my.npz
  dml index my.npz --add new --remove 'old/*'     only what is new or changed is embedded
  dml index my.npz --factory IVF256,PQ16          an approximate structure, with its recall, time and size
  dml index my.npz                                what is in it
  dml index first --to 'postgresql://me@db/images?table=photos'      a copy in PostgreSQL (extra dml[pgvector])
  dml index first --add photos --to qdrant://host:6333/photos        images directly into Qdrant (extra dml[qdrant])
  dml index qdrant://host:6333/photos --remove 'old/*'

The password is in the address, in PGPASSWORD or ~/.pgpass, or in QDRANT_API_KEY.
"""


def main(arguments: list[str]) -> int:
    """Bring an index up to date and print what it holds; return 0, or 1 if some images cannot be read."""
    options = build_parser().parse_args(arguments)
    with json_alone(options.json) as print_json:
        code, told = _index(options)
        if options.json:
            print_json(told)
    return code


def _index(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """Do what is asked for; return the exit code and, for an index in a file, what was printed about it."""
    from dml.cli.shared.elsewhere import index_elsewhere
    from dml.search.remote.address import is_address

    if is_address(options.run):
        if options.to:
            raise UserError("--to needs a run or a file: an index in a database is changed in place")
        return index_elsewhere(options, options.run, None, None), {}
    found, run = find_index(options.run, options.output, options.runs_dir)
    path = Path(found)
    if options.to:
        return index_elsewhere(options, options.to, path, run), {}
    told: dict[str, Any] = {"index": path}
    if not (options.add or options.remove or options.factory):
        return 0, told | (_measure(path) if options.measure else _describe(path))
    if options.remove:
        from dml.search.update import remove_images

        told["removed"] = remove_images(path, options.remove)
        print(f"{path}: {told['removed']} images removed")
    failures: list[tuple[str, str]] = []
    if options.add or options.factory:
        change = _add(path, run, options)
        removed = told.get("removed", 0) + change.removed
        told |= change._asdict() | {"removed": removed, "measured": [row._asdict() for row in change.measured]}
        failures = change.failures
    if options.measure:
        print()
        told |= _measure(path)
    return tell_failures(failures), told


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml index",
        description="Make an index of images, embedded by a run, that `dml search` answers from.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder or name, latest, or an existing index")
    parser.add_argument(
        "--add",
        nargs="+",
        default=[],
        metavar="PATH",
        help="images, folders, zips, tables, lists, outputs of predict",
    )
    parser.add_argument(
        "--remove", nargs="+", default=[], metavar="NAME", help="names of images, folders, or patterns like 'old/*'"
    )
    parser.add_argument("--output", metavar="FILE", help=f"the index (RUN/{INDEX})")
    parser.add_argument(
        "--to", metavar="ADDRESS", help="an index in a database: postgresql://…?table=NAME, qdrant://…/NAME"
    )
    parser.add_argument("--runs_dir", default="runs", metavar="DIR", help="the folder of all runs (runs)")
    parser.add_argument("--ckpt_path", default="best", choices=("best", "last"), help="which weights to use (best)")
    parser.add_argument(
        "--factory", metavar="TEXT", help="FAISS factory string: IVF1024,PQ16, HNSW32, ... (Flat: exact)"
    )
    parser.add_argument(
        "--measure", action="store_true", help="what dml search's --expand, --augment and --rerank gain and cost here"
    )
    add_listing_options(parser)
    add_json(parser)
    add_trust(parser)
    return parser


def find_index(given: str, output: str | None, runs_dir: str) -> tuple[Path | str, str | None]:
    """Return an index's path or address and the run that was named; None if the index itself was.

    Example:
        >>> find_index("my.npz", None, "runs")[0].as_posix()
        'my.npz'
    """
    from dml.search.remote.address import is_address

    if is_address(given):
        return given, None
    if given.endswith(".npz"):
        if output is not None:
            raise UserError("--output needs a run: an index is changed in place")
        return Path(given), None
    if output is not None and not output.endswith(".npz"):
        raise UserError(f"--output {output}: give a name that ends in .npz, by which the index is found again")
    run = runs.find_run(given, runs_dir)
    return Path(output) if output else run / INDEX, str(run)


def run_of(store: "Store | RemoteStore", runs_dir: str) -> str:
    """Return the run that made an index, at its old place or in the folder of runs.

    Raises:
        UserError: It is not in either.
    """
    made = Path(store.about.run)
    for folder in (made, Path(runs_dir) / made.name):
        if store.about.run and (folder / runs.CONFIG).is_file():
            return str(folder)
    raise UserError(f"run {printable(str(made))!r}, which {store.path} was made with, is gone: give --run")


def _add(path: Path, run: str | None, options: argparse.Namespace) -> "Change":
    from dml.data.images.read import bar
    from dml.search.store import Store
    from dml.search.update import update_store

    if run is None:
        run = run_of(Store(path, verify=False), options.runs_dir)
    ready = [Store(Path(name)) for name in options.add if name.endswith(".npz")]
    listings = list_all([name for name in options.add if not name.endswith(".npz")], options)
    embedder = open_embedder(run, options)
    change = update_store(
        path,
        embedder,
        listings,
        factory=options.factory,
        stores=ready,
        progress=lambda total: bar(total, "embedding"),
        calibration=kept_calibration(embedder.folder, embedder),
    )
    print(told_change(path, change))
    if change.measured:
        print(f"\n{measured_table(change.measured)}")
    return change


def measured_table(measured: "Sequence[Measured]") -> str:
    """Return recall, time and size of a search structure, next to the exact search.

    Example:
        >>> from dml.search.structure import Measured
        >>> print(measured_table([Measured("PQ8", 0.98, 0.61, 0.02, 9.5)]))
        index  recall@10  without refining  ms/query  bytes/vector
        PQ8       0.9800            0.6100    0.0200           9.5
    """
    width = max(5, *(len(row.name) for row in measured))
    lines = [f"{'index':<{width}}  recall@10  without refining  ms/query  bytes/vector"]
    lines += [
        f"{row.name:<{width}}  {row.recall:>9.4f}  {row.unrefined:>16.4f}  {row.milliseconds:>8.4f}  {row.bytes:>12.1f}"
        for row in measured
    ]
    return "\n".join(lines)


def _measure(path: Path) -> dict[str, Any]:
    from dml.search.gain import measure_gains
    from dml.search.store import Store

    print(f"{'':<18}  recall_at_1  map_at_r  seconds")
    rows = measure_gains(Store(path))
    for row in rows:
        print(f"{row.name:<18}  {row.recall_at_1:>11.4f}  {row.map_at_r:>8.4f}  {row.seconds:>7.2f}")
    return {"gains": [row._asdict() for row in rows]}


def _describe(path: Path) -> dict[str, Any]:
    import numpy as np

    from dml.search.calibration import parse_calibration
    from dml.search.store import Store

    store = Store(path)
    about, counts = store.about, np.bincount(store.labels, minlength=len(store.class_names))
    print(f"{path}: {len(store)} images, {store.dim} numbers each, metric {about.metric}, {about.factory}")
    print(f"run      {printable(about.run)} (weights {about.weights})")
    for at, root in enumerate(about.roots):
        print(f"images   {np.count_nonzero(store.root_of == at)} of {printable(root)}")
    named = [(name, count) for name, count in zip(store.class_names, counts, strict=True) if name and count]
    print(f"classes  {len(named)}, {counts.sum() - sum(count for _, count in named)} images without one")
    if about.calibration is not None:
        found = parse_calibration(about.calibration, "its calibration")
        print(f"unknown  {printable(told_threshold(found, 'its run', len(store)))}")
    facts = {"images": len(store), "dim": store.dim, "metric": about.metric, "factory": about.factory}
    return facts | {"run": about.run, "weights": about.weights, "roots": about.roots, "classes": dict(named)}
