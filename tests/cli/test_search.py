"""From a trained run to an answer: predict any images, index them, search; and what goes wrong on the way."""

import json
import os
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dml.cli import main
from dml.embeddings import EmbeddingSet
from dml.search import Searcher, Store
from dml.search.embedder import RunEmbedder
from dml.search.parquet import read_parquet

try:
    import resource
except ImportError:
    resource = None


def test_predict_index_search(place):
    code, out, err = place("predict", "digits", "--run", "first", "--output", "x.npz")
    assert code == 0, err
    assert "x.npz: 40 images, 64 numbers each: 40 embedded, 0 as they were" in out
    rows = EmbeddingSet.load(Path("x.npz"))
    assert [rows.class_names[label] for label in rows.labels] == [name.split("/")[0] for name in rows.names.tolist()]
    assert (
        place("predict", "digits", "--run", "first", "--output", "x.npz")[1].count("0 embedded, 40 as they were") == 1
    )
    code, out, err = place("index", "first", "--add", "digits")
    assert code == 0, err
    np.testing.assert_array_equal(Store(Path("runs/first/index.npz")).embeddings, rows.embeddings)
    query = next(Path("digits").rglob("*.png"))
    code, out, err = place("search", "first", query, "-k", "3", "--html", "found.html")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == query.name
    assert lines[1].split() == ["1", "0.0000", query.parent.name, query.relative_to("digits").as_posix()]
    assert len(lines[1:4]) == 3
    page = Path("found.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    assert query.name in page
    code, out, err = place("search", "x.npz", query, "--json", "-k", "2")
    told = json.loads(out)
    assert told["queries"][0]["matches"][0]["name"] == query.relative_to("digits").as_posix()
    assert told["queries"][0]["matches"][0]["distance"] == pytest.approx(0, abs=1e-5)


def test_embeddings_are_those_of_the_run_itself(place):
    assert place("predict", "--run", "first", "--output", "own.npz")[0] == 0
    assert place("predict", "digits", "--run", "first", "--output", "x.npz")[0] == 0
    own, rows = EmbeddingSet.load(Path("own.npz")), EmbeddingSet.load(Path("x.npz"))
    places = [int(Path(name).stem) for name in rows.names.tolist()]  # digits saved as bytes are those of the source
    np.testing.assert_allclose(rows.embeddings, own.embeddings[places], atol=1e-4)


def test_from_python(place):
    assert place("index", "second", "--add", "digits")[0] == 0
    searcher = Searcher.load("runs/second/index.npz", RunEmbedder("second", workers=0))
    queries = sorted(Path("digits").rglob("*.png"))[:3]
    found = searcher(queries, k=2)
    assert [found.matches(at)[0].name for at in range(3)] == [q.relative_to("digits").as_posix() for q in queries]
    assert found.store.about.metric == "cosine"
    near = searcher(RunEmbedder("second", workers=0)(queries[::-1]), k=1)
    assert near.positions[:, 0].tolist() == found.positions[::-1, 0].tolist()


def test_an_unreadable_query_is_named_and_the_others_answered(place):
    place("index", "first", "--add", "digits")
    shutil.copytree("digits/3", "queries")
    Path("queries/bad.png").write_bytes(b"no image")
    count = len(list(Path("queries").glob("*.png"))) - 1
    code, out, err = place("search", "first", "queries", "-k", "1", "--json")
    assert code == 1
    assert len(json.loads(out)["queries"]) == count
    assert json.loads(out)["unreadable"][0]["query"] == "bad.png"
    assert err.count("bad.png") == 1
    code, out, err = place("search", "first", "queries/gone.png", next(Path("digits").rglob("*.png")), "-k", "1")
    assert code == 1
    assert "'queries/gone.png' cannot be read (No such file or directory)" in err
    assert len(out.splitlines()) == 2
    code, _, err = place("search", "first", "queries/bad.png")
    assert code == 2
    assert "none of 1 queries" in err


def test_a_query_like_nothing_is_unknown(place):
    place("index", "first", "--add", "digits")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save("noise.png")
    code, out, _ = place("search", "first", "noise.png", "--threshold", "0.001", "--html", "found.html")
    assert code == 0
    assert "unknown: the nearest is at" in out
    assert "unknown" in Path("found.html").read_text()


@pytest.mark.parametrize(
    "kind", ["flat", "nested", "one class", "zip", "table", "plain table", "list", "files", "mixed"]
)
def test_any_images_are_embedded_labelled_or_not(place, kind):
    files = sorted(Path("digits").rglob("*.png"))[:4]
    place_of = {"flat": "", "nested": "a/b/c/", "one class": "rose/"}
    labels = {"nested": ["c"] * 4, "one class": ["rose"] * 4, "zip": ["x"] * 4, "table": ["t", "u", "t", "u"]}
    for at, file in enumerate(files):
        folder = Path("in") / (("" if at % 2 else "k/") if kind == "mixed" else place_of.get(kind, ""))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / f"{at}.png")
    given = ["in"]
    if kind == "zip":
        given = ["in.zip"]
        with zipfile.ZipFile("in.zip", "w") as archive:
            for at in range(4):
                archive.write(f"in/{at}.png", f"x/{at}.png")
    elif "table" in kind:
        given, rows = ["in/t.csv"], [f"{at}.png,{'tu'[at % 2]}" for at in range(4)]
        rows = ["path,label", *rows] if kind == "table" else ["path", *(row.partition(",")[0] for row in rows)]
        Path("in/t.csv").write_text("\n".join(rows))
    elif kind == "list":
        given = ["in/t.txt"]
        Path("in/t.txt").write_text("\n".join(f"{at}.png" for at in range(4)))
    elif kind == "files":
        given = [f"in/{at}.png" for at in range(4)]
    code, _, err = place("predict", *given, "--run", "first", "--output", "x.npz")
    assert code == 0, err
    store = Store(Path("x.npz"))
    expected = ["", "", "k", "k"] if kind == "mixed" else labels.get(kind, [""] * 4)
    assert [store.row(at).label for at in range(4)] == expected
    assert store.sizes.tolist() == [[8, 8]] * 4
    assert len(EmbeddingSet.load(Path("x.npz"))) == 4


def test_parquet_holds_the_same_and_is_brought_up_to_date(place):
    pytest.importorskip("pyarrow")
    assert place("predict", "digits", "--run", "first", "--output", "x.npz")[0] == 0
    assert place("predict", "digits", "--run", "first", "--output", "x.parquet")[0] == 0
    assert read_parquet(Path("x.parquet")).equals(EmbeddingSet.load(Path("x.npz")))
    found = []
    for name in ("x.npz", "x.parquet"):
        assert place("evaluate", "--embeddings", name)[0] == 0
        found.append(Path("scores.json").read_text())
    assert found[0] == found[1]
    next(Path("digits").rglob("*.png")).unlink()
    out = place("predict", "digits", "--run", "first", "--output", "x.parquet")[1]
    assert "39 images, 64 numbers each: 0 embedded, 39 as they were, 1 no longer there" in out
    assert len(read_parquet(Path("x.parquet"))) == 39
    assert {path.name for path in Path().iterdir()} >= {"x.parquet"}
    assert not [path.name for path in Path().iterdir() if path.name.startswith(".x")]


def test_add_and_remove(place):
    first, *rest = sorted(Path("digits").iterdir())
    assert place("index", "first", "--add", first, "--output", "my.npz")[0] == 0
    code, out, err = place("index", "my.npz", "--add", *rest, "--remove", "0.png")
    assert code == 0, err
    assert "1 images removed" in out
    assert len(Store(Path("my.npz"))) == 39
    code, out, _ = place("index", "my.npz")
    assert "39 images" in out
    code, out, err = place("index", "my.npz", "--factory", "IVF4,Flat")
    assert code == 0, err
    assert "nprobe=1" in out
    assert "Flat (exact)" in out
    code, out, err = place("index", "my.npz", "--measure")
    assert (code, "20 are needed" in err) in {(0, False), (2, True)}
    query = next(rest[0].glob("*.png"))
    for extra in ([], ["--expand", "3"], ["--augment", "2"], ["--rerank"]):
        code, out, err = place("search", "my.npz", query, "-k", "2", *extra)
        assert code == 0, err
        assert len(out.splitlines()) == 3
        assert extra or out.splitlines()[1].endswith(f"{query.parent.name}/{query.name}")  # of several folders


def _moved(place):
    shutil.rmtree("runs/first")


def _other(place):
    shutil.copytree("runs/second", "runs/first", dirs_exist_ok=True)


def _damaged(place):
    path = Path("runs/first/index.npz")
    path.write_bytes(path.read_bytes()[:-100])


def _foreign(place):
    np.savez("runs/first/index.npz", rows=np.zeros(3))


def _pickled(place):
    np.savez("runs/first/index.npz", about=np.array([{}], dtype=object), allow_pickle=True)


def _rewritten(**columns):
    """Return what rewrites the index with other columns, whole and with right checksums."""

    def spoil(place):
        path = Path("runs/first/index.npz")
        with np.load(path) as archive:
            kept = dict(archive)
        np.savez(path, allow_pickle=True, **kept | {name: change(kept[name]) for name, change in columns.items()})

    return spoil


def _retrained(place):
    """Change one weight of the run; its metric and sizes stay."""
    path = Path("runs/first/checkpoints/best.ckpt")
    state = torch.load(path, weights_only=True)
    next(iter(state["state_dict"].values())).view(-1)[0] += 1
    torch.save(state, path)


class _Evil:
    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


def _evil_checkpoint(place):
    torch.save({"state_dict": {"encoder.0": _Evil()}}, "runs/first/checkpoints/best.ckpt")


def _leading_out(names):
    return np.array(["../../etc/passwd", *names[1:].tolist()])


def _of_objects(column):
    return np.array([_Evil()] * len(column), dtype=object)


@pytest.mark.parametrize(
    ("spoil", "words", "told"),
    [
        (_other, ("search", "first", "digits/0"), "do not belong together"),
        (None, ("search", "first", "digits/0", "--run", "second"), "do not belong together"),
        (None, ("index", "second", "--output", "runs/first/index.npz", "--add", "digits"), "do not belong together"),
        (None, ("search", "first", "digits/0", "--ckpt_path", "last", "-k", "100"), "holds 40 images"),
        (_moved, ("search", "runs/first", "digits/0"), "no run"),
        (_damaged, ("search", "first", "digits/0"), "damaged"),
        (_damaged, ("index", "first", "--add", "digits"), "damaged"),
        (_foreign, ("search", "first", "digits/0"), "is not an index"),
        (_pickled, ("search", "first", "digits/0"), "is not an index"),
        (_retrained, ("search", "first", "digits/0"), "other weights"),
        (_retrained, ("index", "first", "--add", "digits"), "other weights"),
        (_evil_checkpoint, ("search", "first", "digits/0", "--ckpt_path", "best"), "broken checkpoint"),
        (_rewritten(embeddings=lambda rows: rows[:, :5]), ("search", "first", "digits/0"), "embeddings (Q,5)"),
        (_rewritten(names=_leading_out), ("search", "first", "digits/0"), "leads out of its folder"),
        (_rewritten(names=_leading_out), ("index", "second", "--add", "runs/first/index.npz"), "leads out of its"),
        (_rewritten(embeddings=_of_objects), ("search", "first", "digits/0"), "damaged"),
        (_rewritten(embeddings=_of_objects), ("index", "second", "--add", "runs/first/index.npz"), "damaged"),
        (_rewritten(names=_of_objects), ("index", "first"), "damaged"),
        (None, ("search", "first", "nowhere"), "no folder or file 'nowhere'"),
        (None, ("search", "second", "digits/0"), "no file runs/second/index.npz"),
        (None, ("search", "first", "digits/0", "--rerank", "--threshold", "1"), "a threshold is a distance"),
        (None, ("search", "first", "digits/0", "--augment", "40"), "augment=40"),
        (None, ("search", "first", "digits/0", "-k", "0"), "at least 1"),
        (None, ("index", "first", "--remove", "nothing"), "matches no image"),
        (None, ("index", "first", "--factory", "IVF77,Flat"), "cannot be trained on 40 images"),
        (None, ("predict", "digits", "--run", "first", "--data.image_size", "4"), "PATH takes no recipe"),
        (None, ("predict", "digits", "--run", "first", "--ckpt_path", "x.ckpt"), "give best or last"),
        (None, ("predict", "digits", "--run", "second", "--output", "runs/first/index.npz"), "do not belong together"),
    ],
)
def test_it_is_told_in_one_line_and_nothing_is_changed(place, spoil, words, told):
    assert place("index", "first", "--add", "digits")[0] == 0
    if spoil is not None:
        spoil(place)
    before = {path: path.read_bytes() for path in Path().rglob("*.npz")}
    code, _, err = place(*words)
    assert code == 2, err
    assert told in err
    assert len([line for line in err.splitlines() if line.startswith("dml: ")]) == 1
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in Path().rglob("*.npz")} == before
    assert not Path("pwned").exists()


@pytest.mark.skipif(resource is None, reason="this system has no limit of a file's size")
def test_a_full_disk_leaves_the_old_index(place):
    first, *rest = sorted(Path("digits").iterdir())
    assert place("index", "first", "--add", first)[0] == 0
    path = Path("runs/first/index.npz")
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, limits[1]))
    try:
        code, _, err = place("index", "first", "--add", *rest)
        code_of_new, _, err_of_new = place("predict", "digits", "--run", "first", "--output", "new.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, code_of_new) == (2, 2)
    for told in (err, err_of_new):
        assert "cannot write" in told
        assert "free some space" in told
        assert told.count("\n") == 1
    assert path.read_bytes() == before
    assert not Path("new.npz").exists()
    assert not list(Path("runs/first").glob(".index.npz.*.npz"))
    assert place("index", "first", "--add", *rest)[0] == 0
    assert len(Store(path)) == 40


def _killed(words):
    from dml.search import embedder, journal

    settings, replace, shards = embedder._read_settings, Path.replace, []

    def die(old, new):
        shards.extend([new] * (".partial" in str(new)))
        if len(shards) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(old, new)

    journal._SHARD = 8
    embedder._read_settings = lambda run: (*settings(run)[:-1], 4)  # images in a batch
    embedder.usable_cores = lambda: 0
    Path.replace = die
    main(words)


def test_a_prediction_that_is_killed_goes_on_and_ends_the_same(place, in_process):
    words = ["predict", "digits", "--run", "first", "--output"]
    assert place(*words, "whole.npz")[0] == 0
    assert in_process(_killed, [*words, "x.npz"]) == -signal.SIGKILL
    assert not Path("x.npz").exists()
    code, out, err = place(*words, "x.npz")
    assert code == 0, err
    assert "40 images, 64 numbers each: 24 embedded, 0 as they were, 16 by the call that was interrupted" in out
    rows, whole = Store(Path("x.npz")), Store(Path("whole.npz"))
    assert [rows.row(at) for at in range(40)] == [whole.row(at) for at in range(40)]
    np.testing.assert_allclose(rows.embeddings, whole.embeddings, atol=1e-5)  # batches of another size
    assert [path.name for path in Path().iterdir() if path.name.startswith(".x")] == []


def test_paths_that_lead_out_of_a_list_need_a_word(place):
    Path("lists").mkdir()
    Path("lists/all.txt").write_text("\n".join(f"../{path}" for path in sorted(Path("digits").rglob("*.png"))))
    code, _, err = place("predict", "lists/all.txt", "--run", "first", "--output", "x.npz")
    assert code == 2
    assert "add --anywhere" in err
    assert place("predict", "lists/all.txt", "--anywhere", "--run", "first", "--output", "x.npz")[0] == 0
    assert not [name for name in Store(Path("x.npz")).names.tolist() if ".." in name]
