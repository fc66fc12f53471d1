import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dml.cli import main


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_clean_data_is_code_0(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--data.root", str(photos)]) == 0
    printed = capsys.readouterr().out
    assert "12 train, 4 val, 4 test images" in printed
    assert "equal images in different parts: none" in printed


def test_leaks_are_code_3_and_written(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(10):
        (photos / "b" / f"copy {i}.png").write_bytes((photos / "a" / f"{i}.png").read_bytes())
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("seed_everything: 3\nmodel: {}\ndata: {image_size: 8, batch_size: 4}\n")
    output = tmp_path / "audit.json"
    assert main(["audit", "--config", str(recipe), "--data.root", str(photos), "--output", str(output)]) == 3
    assert "equal images of different classes: 10" in capsys.readouterr().out
    assert json.loads(output.read_text())["leaks"] > 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.root", "no/such"], "no folder or file 'no/such'"),
        (["--data.rot", "x"], "data.rot"),
        (["--config", "no.yaml"], "no readable file no.yaml"),
        (["--near", "x"], "--near"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_code_2(words, expected, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *words]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
