"""A store is brought up to date: only what is new or changed is embedded, an interrupted call goes on."""

import os

import numpy as np
import pytest

from dml.errors import UserError
from dml.search import Store, remove_images, update_store
from dml.search.journal import partial_folder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "x.npz"


def test_a_second_call_embeds_what_is_new_or_changed(photos, path, encoder, listed, paint):
    first = encoder()
    assert update_store(path, first, [listed(photos)])[:4] == (7, 7, 0, 0)
    before = Store(path)
    kept = dict(zip(before.keys(), before.ids.tolist(), strict=True))
    written = path.stat().st_mtime_ns
    assert update_store(path, encoder(), [listed(photos)])[:4] == (7, 0, 7, 0)
    assert path.stat().st_mtime_ns == written  # nothing to write
    paint(photos / "a" / "1.png", 50)
    os.utime(photos / "a" / "1.png", ns=(1, 1))
    paint(photos / "d" / "new.png", 51)
    second = encoder()
    assert update_store(path, second, [listed(photos)])[:4] == (8, 2, 6, 0)
    assert sorted(second.embedded) == ["a/1.png", "d/new.png"]
    store, fresh = Store(path), encoder()
    rows = next(encoder(batch=99).embed(listed(photos), np.arange(8))).embeddings
    expected = dict(zip(listed(photos).names, rows, strict=True))
    for at in range(8):
        np.testing.assert_array_equal(store.embeddings[at], expected[store.row(at).name])
    assert {key: number for key, number in zip(store.keys(), store.ids.tolist(), strict=True) if key in kept} == kept
    assert store.about.next_id == 8
    assert not fresh.embedded
    assert {store.row(at).label for at in range(8)} == {"", "a", "b/c", "d"}
    assert store.row(0).size == (8, 6)


def test_without_keep_the_store_follows_the_folder(photos, path, encoder, listed, paint):
    update_store(path, encoder(), [listed(photos)], keep=False)
    (photos / "a" / "0.png").unlink()
    paint(photos / "a" / "00.png", 60)
    change = update_store(path, encoder(), [listed(photos)], keep=False)
    assert change[:4] == (7, 1, 6, 1)
    assert Store(path).names.tolist() == listed(photos).names
    assert np.unique(Store(path).ids).size == 7


def test_an_interrupted_call_goes_on(photos, path, encoder, listed):
    with pytest.raises(KeyboardInterrupt):
        update_store(path, encoder(fail_after=3), [listed(photos)])
    assert not path.exists()
    assert partial_folder(path).is_dir()
    second = encoder()
    change = update_store(path, second, [listed(photos)])
    assert (len(second.embedded), change.embedded, change.resumed) == (4, 4, 3)
    assert not partial_folder(path).exists()
    whole = path.with_name("whole.npz")
    update_store(whole, encoder(), [listed(photos)])
    assert path.read_bytes() == whole.read_bytes()


def test_what_other_weights_left_is_not_gone_on_from(photos, path, encoder, listed):
    with pytest.raises(KeyboardInterrupt):
        update_store(path, encoder(fail_after=3), [listed(photos)])
    other = encoder(weights="two")
    update_store(path, other, [listed(photos)])
    assert len(other.embedded) == 7


def test_a_shard_that_is_damaged_is_embedded_again(photos, path, encoder, listed):
    with pytest.raises(KeyboardInterrupt):
        update_store(path, encoder(fail_after=3), [listed(photos)])
    shard = next(partial_folder(path).glob("0*.npz"))
    shard.write_bytes(shard.read_bytes()[:-30])
    assert update_store(path, encoder(), [listed(photos)]).embedded == 7


def test_unreadable_images_are_left_out_and_told(photos, path, encoder, listed):
    (photos / "a" / "bad.png").write_bytes(b"no image")
    change = update_store(path, encoder(), [listed(photos)])
    assert change.total == 7
    assert [name for name, _ in change.failures] == ["a/bad.png"]
    for file in photos.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(UserError, match="none of 8 images can be read"):
        update_store(path.with_name("y.npz"), encoder(), [listed(photos)])


@pytest.mark.parametrize("other", [{"weights": "two"}, {"metric": "cosine"}])
def test_a_store_of_another_run_is_refused_and_kept(photos, path, other, encoder, listed):
    update_store(path, encoder(), [listed(photos)])
    before, stranger = path.read_bytes(), encoder()
    for name, value in other.items():
        setattr(stranger, name, value)
    with pytest.raises(UserError, match=r"belong together|other weights"):
        update_store(path, stranger, [listed(photos)])
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["x.npz"]


def test_two_folders_with_equal_names_are_different_images(photos, path, tmp_path, encoder, listed, paint):
    paint(tmp_path / "more" / "a" / "0.png", 70)
    change = update_store(path, encoder(), [listed(photos), listed(tmp_path / "more")])
    assert change.total == 8
    assert len(Store(path).about.roots) == 2


def test_rows_of_another_file_are_taken_over(photos, path, tmp_path, encoder, listed):
    update_store(tmp_path / "old.npz", encoder(), [listed(photos)])
    change = update_store(path, encoder(), [], stores=[Store(tmp_path / "old.npz")])
    assert (change.total, change.embedded, change.taken) == (7, 0, 7)


@pytest.mark.parametrize(("pattern", "left"), [("a", 4), ("b/*", 4), ("6.png", 6), ("*.png", 0), ("a/?.png", 4)])
def test_images_are_removed_by_name_folder_and_pattern(photos, path, pattern, left, encoder, listed):
    update_store(path, encoder(), [listed(photos)])
    ids = Store(path).ids.tolist()
    if not left:
        with pytest.raises(UserError, match="would be empty"):
            remove_images(path, [pattern])
        return
    assert remove_images(path, [pattern]) == 7 - left
    store = Store(path)
    assert len(store) == left
    assert set(store.ids.tolist()) < set(ids)
    assert update_store(path, encoder(), [listed(photos)]).total == 7
    assert max(Store(path).ids) == 13 - left  # ids are not given twice


def test_removing_what_is_not_there_changes_nothing(photos, path, encoder, listed):
    update_store(path, encoder(), [listed(photos)])
    before = path.read_bytes()
    with pytest.raises(UserError, match="'zebra' matches no image"):
        remove_images(path, ["a", "zebra"])
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_old_index(photos, path, monkeypatch, encoder, listed, paint):
    update_store(path, encoder(), [listed(photos)])
    before = path.read_bytes()
    paint(photos / "e.png", 80)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dml.search.archive.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        update_store(path, encoder(), [listed(photos)])
    assert path.read_bytes() == before
