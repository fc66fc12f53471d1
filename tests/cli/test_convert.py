"""`dml convert`: one line of what was written, and one of what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dml.cli import main

pytest.importorskip("lance")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_it_tells_what_it_wrote(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "photos", "--to", "photos.lance"]) == 0
    assert main(["convert", "photos", "--to", "photos.lance"]) == 0
    told = "photos.lance: 6 images of 2 classes"
    assert capsys.readouterr().out == f"{told}\n{told}, 6 of them were there\n"
    Path("t.csv").write_text("path,label\nphotos/a/0.png,x\nphotos/a/1.png,y\nphotos/none.png,y\n")
    assert main(["convert", "t.csv", "--to", "t.lance", "--on_error", "skip"]) == 1
    last = "1 files cannot be read: photos/none.png; train with data.on_error=skip\n"
    assert capsys.readouterr().out == f"t.lance: 3 images of 2 classes\n{last}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["photos", "--to", "photos.zip"], "--to photos.zip: give a name that ends in .lance"),
        (["none", "--to", "x.lance"], "no folder or zip 'none'"),
        (["none.csv", "--to", "x.lance"], "no table 'none.csv'"),
        (["photos", "--to", "away/x.lance"], "no folder 'away'"),
        (["photos"], "the following arguments are required: --to"),
    ],
)
def test_mistakes_are_one_line(photos: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert main(["convert", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dml: {told}")
    assert not Path("x.lance").exists()
