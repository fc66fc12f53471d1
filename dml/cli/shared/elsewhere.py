"""`dml index` for a store in a database: PostgreSQL with pgvector, or Qdrant, by its address."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dml.cli.shared.embedding import list_all, open_embedder, tell_failures, told_change
from dml.cli.shared.threshold import kept_calibration, told_threshold
from dml.errors import UserError, printable, without_password
from dml.search.remote.address import is_address

if TYPE_CHECKING:  # importing them loads NumPy, which --help must not
    from dml.search.remote.searching import RemoteStore


def index_elsewhere(options: argparse.Namespace, address: str, path: Path | None, run: str | None) -> int:
    """Bring a store in a database up to date, or print what it holds; return 0, or 1 if some images cannot be read.

    Args:
        options: Of `dml index`.
        address: Of the store.
        path: The file whose rows it gets where no images are added; None: no file was named.
        run: The run that embeds; None: that of the store or the file.
    """
    if not is_address(address):
        told = "is not the address of a store: write postgresql://… or qdrant://…"
        raise UserError(f"--to {printable(without_password(address))} {told}")
    if options.output or options.measure or options.json:
        name = "output" if options.output else "measure" if options.measure else "json"
        raise UserError(f"--{name} is of files: leave it out with a store elsewhere")
    if path is None and not (options.add or options.remove or options.factory):
        from dml.search.remote.searching import RemoteStore

        _describe(RemoteStore(address))
        return 0
    if options.remove:
        from dml.search.remote.update import remove_remote

        print(f"{without_password(address)}: {remove_remote(address, options.remove)} images removed")
    copies = path is not None and not (options.add or options.remove)
    if copies or options.add or options.factory:
        return tell_failures(_update(options, address, path, run, copies))
    return 0


def _update(
    options: argparse.Namespace, address: str, path: Path | None, run: str | None, copies: bool
) -> list[tuple[str, str]]:
    from dml.cli.index import run_of
    from dml.data.images.read import bar
    from dml.search.inventory import StoredMaker
    from dml.search.remote.searching import RemoteStore
    from dml.search.remote.update import update_remote
    from dml.search.store import Store

    given = [path] if copies and path is not None else [name for name in options.add if name.endswith(".npz")]
    stores = [Store(Path(name)) for name in given]
    if copies and run is None:
        change = update_remote(address, StoredMaker.of(stores[0].about), stores=stores, factory=options.factory)
    else:
        if run is None:
            run = run_of(RemoteStore(address) if path is None else Store(path, verify=False), options.runs_dir)
        embedder = open_embedder(run, options)
        change = update_remote(
            address,
            embedder,
            embedder,
            list_all([name for name in options.add if not name.endswith(".npz")], options),
            stores,
            options.factory,
            kept_calibration(embedder.folder, embedder),
            lambda total: bar(total, "embedding"),
        )
    print(told_change(without_password(address), change))
    return change.failures


def _describe(store: "RemoteStore") -> None:
    from dml.search.calibration import parse_calibration

    about = store.about
    print(f"{store.path}: {len(store)} images, {store.dim} numbers each, metric {about.metric}, {about.factory}")
    print(f"run      {printable(about.run)} (weights {about.weights})")
    for root in about.roots:
        print(f"images   of {printable(root)}")
    if about.calibration is not None:
        found = parse_calibration(about.calibration, "its calibration")
        print(f"unknown  {printable(told_threshold(found, 'its run', len(store)))}")
