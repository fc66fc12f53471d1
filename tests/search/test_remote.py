"""Stores in PostgreSQL and Qdrant answer as the file they are copies of, and change whole or not at all."""

import socket
import time

import numpy as np
import pytest

from dml.errors import UserError
from dml.search import (
    About,
    RemoteStore,
    Searcher,
    Store,
    remove_images,
    remove_remote,
    update_remote,
    update_store,
)
from dml.search.inventory import StoredMaker
from dml.search.remote import update
from dml.search.store import Row, write_store


def _write(path, metric="l2", count=300, dim=32, weights="w"):
    generator = np.random.default_rng(count)
    values = generator.normal(size=(count, dim)).astype(np.float32)
    values[count // 2 : count // 2 + 40] = values[: min(40, count - count // 2)]  # ties
    values[60:100] = values[0]  # more of them than candidates
    rows = [Row("/photos", f"a'\"%s/{at}.png", f"k{at % 3}", f"{at}", (at + 1, 4), at + 10) for at in range(count)]
    write_store(path, About(weights, metric, str(path.parent), (3, 8, 8), next_id=count + 10), rows, [values], dim)
    return Store(path)


def _copy(store, address, **more):
    return update_remote(address, StoredMaker.of(store.about), stores=[store], **more)


def _assert_same(file, address, queries, k=9, **more):
    here, there = Searcher(file)(queries, k, **more), Searcher.load(address)(queries, k, **more)
    np.testing.assert_array_equal(there.distances, here.distances)
    for query in range(len(queries)):
        assert there.matches(query) == here.matches(query)
    assert there.known.tolist() == here.known.tolist()


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_neighbours_and_their_order_are_those_of_the_exact_index(tmp_path, address, metric):
    file = _write(tmp_path / "x.npz", metric)
    assert _copy(file, address)[:4] == (300, 0, 0, 0)
    queries = np.concatenate([np.random.default_rng(1).normal(size=(10, 32)), file.embeddings[:70:7]])
    _assert_same(file, address, queries.astype(np.float32))
    _assert_same(file, address, queries, k=300)
    _assert_same(file, address, queries, k=1, threshold=0.1)
    near, far = (Searcher.load(where)(queries, 2, expand=3) for where in (file.path, address))
    np.testing.assert_allclose(near.distances, far.distances, atol=1e-6)
    store = RemoteStore(address)
    assert (len(store), store.dim, store.about) == (300, 32, file.about)
    with pytest.raises(UserError, match="k=301 for an index of 300"):
        Searcher(store)(queries, 301)
    with pytest.raises(UserError, match="not on this machine"):
        Searcher(store, augment=2)


def test_it_follows_a_file_by_name(photos, tmp_path, address, encoder, listed, paint):
    path = tmp_path / "x.npz"
    update_store(path, encoder(), [listed(photos)])
    _copy(Store(path), address)
    paint(photos / "a" / "1.png", 50)  # changed: goes behind the others and keeps its id
    paint(photos / "d" / "new.png", 50)
    update_store(path, encoder(), [listed(photos)])
    change = _copy(Store(path), address)
    assert (change.total, change.taken, change.reused) == (8, 2, 6)
    queries = np.asarray(Store(path).embeddings)
    _assert_same(Store(path), address, queries, 8)
    assert _copy(Store(path), address)[:4] == (8, 0, 8, 0)  # twice is once
    assert remove_remote(address, ["b"]) == remove_images(path, ["b"]) == 3
    _assert_same(Store(path), address, queries, 5)
    with pytest.raises(UserError, match="'zebra' matches no image"):
        remove_remote(address, ["a", "zebra"])
    with pytest.raises(UserError, match="would be empty"):
        remove_remote(address, ["*"])
    store, remote = Store(path), RemoteStore(address)
    assert (remote.about.next_id, remote.about.roots) == (store.about.next_id, store.about.roots)


def test_images_are_embedded_into_it_and_an_interrupted_call_goes_on(photos, address, encoder, listed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        update_remote(address, encoder(), encoder(fail_after=3), [listed(photos)])
    with pytest.raises(UserError, match="no index at"):
        RemoteStore(address)
    second = encoder()
    change = update_remote(address, second, second, [listed(photos), listed(photos)])
    assert (change.total, change.embedded, change.resumed, len(second.embedded)) == (7, 4, 3, 4)
    update_store(tmp_path / "x.npz", encoder(), [listed(photos)])
    _assert_same(Store(tmp_path / "x.npz"), address, np.asarray(Store(tmp_path / "x.npz").embeddings), 7)
    assert not list(tmp_path.glob(".to-*"))
    label = listed(photos)
    label.labels = ["x"] * 7
    assert update_remote(address, second, second, [label])[:4] == (7, 0, 7, 0)
    assert Searcher.load(address)(np.zeros((1, 12)), 1).matches(0)[0].label == "x"


@pytest.mark.parametrize("first", [True, False])
def test_an_upload_that_breaks_off_leaves_what_was_there(tmp_path, address, first):
    old, new = _write(tmp_path / "x.npz", count=120), _write(tmp_path / "y.npz", count=2000)
    if not first:
        _copy(old, address)

    class Broken:
        """Rows that end with the power."""

        def __init__(self, store):
            self.store = store

        def __getattr__(self, name):
            return getattr(self.store, name)

        def __len__(self):
            return len(self.store)

        @property
        def embeddings(self):
            raise KeyboardInterrupt

    class Late(Broken):
        asked = 0

        @property
        def embeddings(self):
            self.asked += 1
            if self.asked > 1500:
                raise KeyboardInterrupt
            return self.store.embeddings

    for broken in (Broken(new), Late(new)):
        with pytest.raises(KeyboardInterrupt):
            _copy(broken, address)
        if first:
            with pytest.raises(UserError, match="no index at"):
                RemoteStore(address)
        else:
            _assert_same(old, address, np.asarray(old.embeddings[:5]), 120)
    _copy(new, address)
    if first:
        _assert_same(new, address, np.asarray(new.embeddings[:5]), 2000)
    else:
        assert len(RemoteStore(address)) == 2000  # the names of the old are among the new


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"metric": "cosine"}, "in metric l2, run .* in cosine"),
        ({"weights": "v"}, "other weights"),
        ({"dim": 5, "count": 3}, "embeddings of \\[5, 32\\] numbers"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, address, other, told):
    file = _write(tmp_path / "x.npz")
    _copy(file, address)
    with pytest.raises(UserError, match=told):
        _copy(_write(tmp_path / "y.npz", **{"count": 500} | other), address)
    assert len(RemoteStore(address)) == 300


def test_an_approximate_index_of_its_own_is_asked_for(tmp_path, address):
    file = _write(tmp_path / "x.npz")
    _copy(file, address)
    _copy(file, address, factory="HNSW16")
    assert RemoteStore(address).about.factory == "HNSW16"
    _assert_same(file, address, np.random.default_rng(1).normal(size=(10, 32)), 1)  # so few are all looked at
    assert len(Searcher.load(address)(np.zeros((1, 32)), 300).matches(0)) == 300
    _copy(file, address, factory="Flat")
    assert RemoteStore(address).about.factory == "Flat"
    with pytest.raises(UserError, match="HNSW2 to HNSW100"):
        _copy(file, address, factory="IVF16,Flat")


def test_another_writer_meanwhile_is_noticed(tmp_path, address, monkeypatch):
    first, second = _write(tmp_path / "x.npz", count=120), _write(tmp_path / "y.npz", count=130)
    _copy(first, address)
    plan, done = update._plan, []

    def meanwhile(client, *rest):
        if not done:
            done.append(remove_remote(address, ["*/7.png"]))
        return plan(client, *rest)

    monkeypatch.setattr(update, "_plan", meanwhile)
    with pytest.raises(UserError, match="another process has changed"):
        _copy(second, address)
    assert len(RemoteStore(address)) == 119
    assert _copy(second, address).total == 130


def test_names_that_are_not_utf8_are_told(tmp_path, address):
    rows = [Row("/photos", "caf\udce9.png", "", "1", (1, 1), 0)]
    write_store(tmp_path / "x.npz", About("w", run=str(tmp_path)), rows, [np.ones((1, 3))], 3)
    with pytest.raises(UserError, match=r"caf\\udce9\.png.*not UTF-8"):
        _copy(Store(tmp_path / "x.npz"), address)
    with pytest.raises(UserError, match="no index at"):
        RemoteStore(address)


@pytest.mark.parametrize("name", ["o'clock", 'a"; DROP TABLE "b', "%s %(x)s {table}", "Größe. \\x", "select"])
def test_tables_may_have_odd_names(tmp_path, postgres, name):
    from urllib.parse import quote

    file = _write(tmp_path / "x.npz", count=120)
    address = f"{postgres}?table={quote(name)}"
    _copy(file, address, factory="HNSW4")
    _assert_same(file, address, np.asarray(file.embeddings[:3]), 1)
    assert remove_remote(address, ["*/7.png"]) == 1


@pytest.mark.parametrize("name", ["x" * 64, "dml_stores", "", "pg_class"])
def test_tables_that_cannot_be_are_told(tmp_path, postgres, name):
    with pytest.raises(UserError, match=r"table=NAME|is there"):
        _copy(_write(tmp_path / "x.npz", count=120), f"{postgres}?table={name}")


@pytest.mark.parametrize("name", ["..", "a%2Fb", "a%5Cb", "a:b", ".hidden", "x" * 201, "a%00b", ""])
def test_collections_that_cannot_be_are_told(qdrant, name):
    with pytest.raises(UserError, match=r"cannot be called|names no collection"):
        RemoteStore(qdrant.replace("photos", name))


def test_a_folder_of_qdrants_client_is_not_opened(tmp_path):
    with pytest.raises(UserError, match="names no collection"):  # it holds pickles
        RemoteStore(f"qdrant://{tmp_path}/store/photos")
    assert list(tmp_path.iterdir()) == []


def test_the_servers_own_index_does_not_make_the_search_approximate(tmp_path, postgres):
    import psycopg

    file, address = _write(tmp_path / "x.npz", count=2000), f"{postgres}?table=own"
    _copy(file, address)
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE INDEX ON own USING ivfflat (embedding vector_l2_ops) WITH (lists = 200)")
    _assert_same(file, address, np.random.default_rng(2).normal(size=(5, 32)), 50)


def test_rows_that_a_stranger_wrote_are_looked_at(tmp_path, postgres):
    import psycopg

    file, address = _write(tmp_path / "x.npz", count=120), f"{postgres}?table=strange"
    _copy(file, address)
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE strange SET name = '../../etc/passwd' WHERE position = 3")
    found = Searcher.load(address)(file.embeddings[3:4], 1)
    with pytest.raises(UserError, match="leads out of its folder"):
        found.matches(0)
    for said in ("{}", "[", '{"dim": 32, "end": 1, "about": {}}'):
        with psycopg.connect(postgres) as connection:
            connection.execute("UPDATE dml_stores SET said = %s WHERE name = 'strange'", [said])
        with pytest.raises(UserError, match=r"cannot be read"):
            RemoteStore(address)


@pytest.mark.parametrize("scheme", ["postgresql", "qdrant"])
@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_is_down_or_silent_is_told_within_ten_seconds(scheme, silent):
    pytest.importorskip("psycopg" if scheme == "postgresql" else "qdrant_client")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen()
        url = f"{scheme}://me:se%2Fcret@127.0.0.1:{server.getsockname()[1]}/x"
        began = time.monotonic()
        with pytest.raises(UserError, match=r"check the address") as told:
            RemoteStore(url)
    assert time.monotonic() - began < 10
    assert "cret" not in str(told.value)
    assert "://me:***@127.0.0.1" in str(told.value)


@pytest.mark.parametrize("rest", ["a%ff", "caf\udce9", "x?table=%00", "db:port/x", "[::1/x"])
def test_addresses_that_are_none_are_told(rest):
    pytest.importorskip("psycopg")
    with pytest.raises(UserError, match=r"^postgresql://"):
        RemoteStore(f"postgresql://{rest}")


def test_a_wrong_password_is_told_and_not_shown(postgres):
    for address in (postgres.replace("se%2Fcr", "wrong"), postgres.replace("5", "x", 1) + "?nonsense=1"):
        with pytest.raises(UserError, match=r"check the address|is not an address") as told:
            RemoteStore(address)
        assert not any(word in str(told.value) for word in ("wrong", "cr@t", "cr%40t"))
