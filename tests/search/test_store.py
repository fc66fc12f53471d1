"""A store is whole or not there, mapped, checked, and holds nothing pickled."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dml.embeddings import EmbeddingSet
from dml.errors import UserError
from dml.search import About, Searcher, Store
from dml.search.archive import Archive, writing
from dml.search.store import Row, write_store

ROWS = [Row("/photos", f"a/{i}.png", "a" if i % 2 else "", f"{i} 7", (i + 1, 4), 10 + i) for i in range(5)]
VALUES = np.arange(15, dtype=np.float32).reshape(5, 3)


@pytest.fixture
def file(tmp_path):
    write_store(tmp_path / "x.npz", About("w"), ROWS, [VALUES[:2], VALUES[2:]], 3)
    return tmp_path / "x.npz"


def test_what_was_written_is_read_and_mapped(file):
    store = Store(file)
    assert isinstance(store.embeddings, np.memmap)
    assert store.embeddings.ctypes.data % 64 == 0
    np.testing.assert_array_equal(store.embeddings, VALUES)
    assert [store.row(at) for at in range(5)] == ROWS
    with np.load(file) as archive:  # an archive like any other
        np.testing.assert_array_equal(archive["embeddings"], VALUES)
    rows = EmbeddingSet.load(file)
    assert rows.names[3] == "a/3.png"
    assert [rows.class_names[label] for label in rows.labels] == [row.label for row in ROWS]
    assert rows.equals(store.as_set())


def test_a_flipped_byte_is_told_or_means_nothing(file):
    content, told = file.read_bytes(), 0
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            store = Store(file)
        except UserError:
            told += 1
        else:  # a date, or what lies between two arrays
            np.testing.assert_array_equal(store.embeddings, VALUES)
            assert [store.row(at) for at in range(5)] == ROWS
    assert told > 0.4 * len(content) / 7


@pytest.mark.parametrize("left", [0, 10, 0.5, 0.99])
def test_a_file_cut_short_is_told(file, left):
    content = file.read_bytes()
    file.write_bytes(content[: int(left * len(content)) if left < 1 else left])
    with pytest.raises(UserError, match=r"x\.npz is not an archive of arrays, or is damaged"):
        Store(file)


def _with(file, **arrays):
    with np.load(file) as archive:
        kept = dict(archive)
    with writing(file) as archive:
        for name, array in (kept | arrays).items():
            archive.add(name, array)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"names": np.array(["a/0.png", "../../etc/passwd", "b", "c", "d"])}, "leads out of its folder"),
        ({"names": np.array(["/etc/passwd", "a", "b", "c", "d"])}, "absolute path"),
        ({"labels": np.array([0, 1, 2, 0, 0])}, "labels run from 0 to 2"),
        ({"root_of": np.array([0, -1, 0, 0, 0])}, "root_of run from -1"),
        ({"embeddings": np.full((5, 3), np.nan, np.float32)}, "NaN"),
        ({"embeddings": np.zeros((5, 3))}, "float64"),
        ({"ids": np.zeros(4, np.int64)}, "ids have shape"),
        ({"stamps": np.zeros(5)}, "stamps are not text"),
        ({"about": np.frombuffer(b"[]", np.uint8)}, "cannot be read"),
        ({"about": np.frombuffer(b'{"weights": 3, "roots": [], "image_shape": []}', np.uint8)}, "cannot be read"),
    ],
)
def test_a_store_of_another_form_is_refused(file, arrays, told):
    _with(file, **arrays)
    with pytest.raises(UserError, match=told):
        Store(file)


def test_a_newer_format_is_refused(file):
    about = json.loads(bytes(Archive(file)["about"]))
    _with(file, about=np.frombuffer(json.dumps(about | {"format": 9}).encode(), np.uint8))
    with pytest.raises(UserError, match="format 9"):
        Store(file)


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


@pytest.mark.parametrize("column", ["names", "embeddings", "about"])
def test_pickled_content_is_refused(file, column, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()] * 5, dtype=object), allow_pickle=True)
    with zipfile.ZipFile(file) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (kept | {f"{column}.npy": buffer.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match=r"x\.npz"):
        Store(file)
    assert not Path("pwned").exists()


def test_other_archives_are_not_stores(tmp_path):
    EmbeddingSet([[1.0]], [0]).save(tmp_path / "plain.npz")
    with pytest.raises(UserError, match="is not an index"):
        Store(tmp_path / "plain.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match="is not an archive"):
        Store(tmp_path / "text.npz")


def test_a_full_disk_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dml.search.archive.os.fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
        write_store(file, About("w"), ROWS[:2], [VALUES[:2]], 3)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["x.npz"]


def test_blocks_that_do_not_add_up_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="2 rows"):
        write_store(tmp_path / "y.npz", About("w"), ROWS, [VALUES[:2]], 3)
    assert not list(tmp_path.iterdir())


def test_embeddings_that_are_not_numbers_name_their_image(tmp_path):
    with pytest.raises(UserError, match=r"'a/3\.png'"):
        write_store(tmp_path / "y.npz", About("w"), ROWS, [VALUES[:2], np.array([[1, 2, 3], [1, np.nan, 3]])], 3)


def test_a_search_loads_no_torch(file):
    code = (
        "import sys; from dml.search import Searcher; from pathlib import Path\n"
        f"found = Searcher.load({str(file)!r})([[0.0, 1.0, 2.0]], k=2)\n"
        "print(found.matches(0)[0].name, {'torch', 'lightning', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "a/0.png set()\n"


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_search_within_little_memory_finds_the_same(tmp_path, metric):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3000, 4)).astype(np.float32)
    values[1500:1600] = values[:100]  # ties across blocks
    rows = [ROWS[0]._replace(name=f"{at}.png", id=at) for at in range(3000)]
    write_store(tmp_path / "y.npz", About("w", metric), rows, [values], 4)
    queries = generator.normal(size=(20, 4))
    whole = Searcher.load(tmp_path / "y.npz")(queries, 7)
    parts = Searcher.load(tmp_path / "y.npz", max_memory=1)(queries, 7)
    np.testing.assert_array_equal(whole.positions, parts.positions)
    np.testing.assert_array_equal(whole.distances, parts.distances)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True) if metric == "cosine" else values
    asked = queries / np.linalg.norm(queries, axis=1, keepdims=True) if metric == "cosine" else queries
    table = np.linalg.norm(asked[:, None] - unit[None], axis=2) ** (2 if metric == "cosine" else 1)
    expected = np.sort(table / (2 if metric == "cosine" else 1), axis=1)[:, :7]
    np.testing.assert_allclose(whole.distances, expected, atol=1e-6)


def test_the_threshold_tells_what_is_known(file):
    found = Searcher.load(file)([[0.0, 1.0, 2.0], [90.0, 90.0, 90.0]], k=3, threshold=1.0)
    assert found.known.tolist() == [True, False]
    assert [match.name for match in found.matches(0)] == ["a/0.png"]
    assert found.matches(1) == []


@pytest.mark.parametrize(
    ("queries", "k", "told"),
    [
        ([[0.0, 0.0, 0.0]], 6, "k=6 for an index of 5 images"),
        ([[0.0, 0.0, 0.0]], 0, "k=0"),
        ([[0.0, 0.0]], 1, r"give embeddings \(Q,3\)"),
        (["a.jpg"], 1, "embedder"),
    ],
)
def test_what_cannot_be_searched_is_told(file, queries, k, told):
    with pytest.raises(UserError, match=told):
        Searcher.load(file)(queries, k)
