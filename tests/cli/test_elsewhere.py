"""An index in PostgreSQL or Qdrant is made, searched and changed by its address as one in a file."""

import json
import shutil
from pathlib import Path

import pytest

from dml.search import RemoteStore


def _answers(place, index, *words):
    code, out, err = place("search", index, "digits/3", "-k", "4", "--json", *words)
    assert code == 0, err
    return json.loads(out)["queries"]


def test_it_answers_as_the_file_does(place, address):
    assert place("index", "first", "--add", "digits")[0] == 0
    code, out, err = place("index", "first", "--to", address)
    assert code == 0, err
    assert "40 images, 64 numbers each: 0 embedded, 0 as they were, 40 taken over" in out
    told = out + err
    assert _answers(place, address) == _answers(place, "first")
    query = next(Path("digits/3").glob("*.png"))
    code, out, err = place("search", address, query, "-k", "2", "--html", "found.html")
    assert code == 0, err
    own = place("search", "first", query, "-k", "2")[1]
    assert out.splitlines()[: len(own.splitlines())] == own.splitlines()
    page = Path("found.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    told += out + err + page
    code, out, err = place("search", address, query, "--threshold", "-1", "--expand", "0")
    assert "unknown: the nearest is at 0.0000" in out
    code, out, err = place("index", address)
    assert "40 images, 64 numbers each, metric l2, Flat" in out
    told += out + err
    for words, reason in (
        (("search", address, query, "-k", "41"), "holds 40 images"),
        (("search", address, query, "--rerank"), "cannot be re-ranked"),
        (("search", address, query, "--augment", "2"), "cannot be augmented"),
        (("search", address, query, "--run", "second"), "do not belong together"),
        (("index", "second", "--add", "digits", "--to", address), "do not belong together"),
        (("index", address, "--remove", "nothing"), "matches no image"),
        (("index", address, "--output", "x.npz"), "--output is of files"),
        (("index", address, "--to", address), "--to needs a run"),
        (("index", "first", address), "unrecognized arguments"),
        (("index", "first", "--to", "somewhere"), "is not the address of a store"),
        (("index", "second", "--to", address), "no file runs/second/index.npz"),
    ):
        code, out, err = place(*words)
        assert code == 2
        assert reason in err
        assert err.count("\n") == 1
        told += out + err
    assert "se/cr@t" not in told
    assert "se%2Fcr%40t" not in told


def test_images_go_straight_into_it_and_out_again(place, address):
    code, out, err = place("index", "first", "--add", "digits", "--to", address)
    assert code == 0, err
    assert "40 images, 64 numbers each: 40 embedded, 0 as they were" in out
    assert not Path("runs/first/index.npz").exists()
    assert "0 embedded, 40 as they were" in place("index", address, "--add", "digits")[1]
    shutil.copytree("digits/3", "more/3")
    Path("more/3/bad.png").write_bytes(b"no image")
    code, out, err = place("index", address, "--add", "more", "--remove", "3")
    assert code == 1
    assert "'3/bad.png' cannot be read" in err
    place("index", "first", "--add", "digits", "--output", "my.npz")
    place("index", "my.npz", "--add", "more", "--remove", "3")
    assert _answers(place, address) == _answers(place, "my.npz")
    code, out, err = place("index", "my.npz", "--to", address.replace("table=", "table=two").replace("photos", "two"))
    assert "taken over" in out, err
    before = len(RemoteStore(address))
    code, out, err = place("index", "first", "--remove", "5", "--to", address)
    assert code == 0, err
    assert len(RemoteStore(address)) < before
    code, out, err = place("index", address, "--factory", "HNSW8")
    assert code == 0, err
    assert RemoteStore(address).about.factory == "HNSW8"
    code, out, err = place("search", address, next(Path("digits/1").glob("*.png")), "-k", "1")
    assert "HNSW8, which may miss" in err
    assert out.splitlines()[1].split()[:2] == ["1", "0.0000"]


def test_a_store_that_is_down_is_told_without_its_password(place):
    pytest.importorskip("psycopg")
    address = "postgresql://me:secret@127.0.0.1:1/images"
    for words in (("search", address, "digits/3"), ("index", "first", "--add", "digits", "--to", address)):
        code, out, err = place(*words)
        assert code == 2
        assert err.startswith("dml: postgresql://me:***@127.0.0.1:1/images: connection")
        assert "secret" not in out + err


def test_a_package_that_is_missing_is_told_with_its_extra(place, monkeypatch):
    from dml.search.remote import client

    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(client, "import_module", missing)
    for address, extra in (("postgresql://db/images", "pgvector"), ("qdrant://db/images", "qdrant")):
        code, _, err = place("index", address)
        assert code == 2
        assert f"pip install 'dml[{extra}]'" in err
