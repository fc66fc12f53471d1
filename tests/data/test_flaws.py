"""Images of one colour and equal images: told in one line, left out, refused; listed by the audit."""

import numpy as np
import pytest
import torch

from dml.cli import main
from dml.data import Arrays, ImageData, StratifiedSplit
from dml.data.audit import audit_data
from dml.errors import UserError


@pytest.fixture
def images():
    """Forty images, of which 4 is of one colour, 9 repeats 7 in its class, and 12 is 11, of the other one."""
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 5), dtype=np.uint8)
    images[4], images[9], images[12] = 8, images[7], images[11]
    return images


def prepare(images, **keys):
    data = ImageData(source=Arrays(images, np.arange(40) % 2), split=StratifiedSplit(val=8, test=0), **keys)
    data.setup()
    return data


def test_they_are_told_with_counts_and_the_key(images, caplog):
    data = prepare(images)
    (record,) = caplog.records
    assert record.getMessage() == (
        "of 40 images 1 of one colour (first 'array[4]'), 1 equal to another one of their class (first 'array[9]'), "
        "2 equal to one of another class (first 'array[11]'): `dml audit` lists them, data.on_flaw=skip leaves them out"
    )
    assert len(data.parts.train) + len(data.parts.val) == 40
    caplog.clear()
    prepare(images, on_flaw="keep")
    assert not caplog.records


@pytest.mark.parametrize("memory_limit", [4.0, 0.0])
def test_they_are_left_out_or_refused(images, memory_limit):
    data = prepare(images, on_flaw="skip", memory_limit=memory_limit, workers=0)
    assert data.flawed == [4, 9, 11, 12]
    used = np.sort(np.concatenate([data.parts.train, data.parts.val]))
    assert used.tolist() == sorted(set(range(40)) - {4, 9, 11, 12})
    assert data.describe()["flawed_images_left_out"] == 4
    with pytest.raises(UserError, match=r"1 of one colour .*: fix them, or set data.on_flaw to skip or tell"):
        prepare(images, on_flaw="raise", memory_limit=memory_limit, workers=0)


def test_clean_images_are_not_talked_about(caplog):
    ImageData().setup()
    assert not caplog.records


def test_hardly_any_light_is_told(caplog):
    prepare(np.random.default_rng(0).integers(0, 17, (40, 5, 5), dtype=np.uint8))
    assert "no pixel of the 40 images is brighter than 16 of 255: name what is white" in caplog.text


def test_the_audit_lists_them(images, tmp_path, capsys):
    found = audit_data(prepare(images, on_flaw="keep"), near=2)
    assert found.constant == ["array[4]"]
    assert {*found.repeated, *found.exact} == {("array[7]", "array[9]"), ("array[11]", "array[12]")} | set(found.exact)
    assert found.contradictions == [("array[11]", "array[12]")]
    np.savez(tmp_path / "a\x1b[2J.npz", images=images // 16, labels=np.arange(40) % 2)
    main(["audit", "--data.root", str(tmp_path / "a\x1b[2J.npz"), "--near", "2"])
    out = capsys.readouterr().out
    assert "images of one colour: 1 (data.on_flaw=skip leaves them out)\n  a\\x1b[2J.npz[4]\n" in out
    assert "equal images of different classes: 1 (data.on_flaw=skip leaves all of them out)" in out
    assert "brightest pixel: 15 of 255 (too dark" in out
    assert "\x1b" not in out


def test_many_equal_images_are_paired_in_a_line_not_a_square():
    images = torch.zeros(6000, 2, 2, dtype=torch.uint8).numpy()
    images[0] = 9
    data = ImageData(source=Arrays(images, np.arange(6000) % 3), on_flaw="keep")
    data.setup()
    found = audit_data(data, near=2)
    assert len(found.contradictions) < 6000
    assert len(found.exact) < 6000
    assert len(found.constant) == 6000
