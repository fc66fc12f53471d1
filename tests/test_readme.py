"""README's examples, word for word, on a small folder of images."""

import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image

from dml.cli import VERBS, main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def _blocks(section, language):
    text = README.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_examples_run_as_they_stand(tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    for number, name in enumerate(("daisy", "iris", "tulip")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for image in range(20):
            noise = generator.integers(0, 80, (64, 64, 3)) + 60 * number
            Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "photos" / name / f"{image}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    assert len(_blocks("From Python", "python")[0].splitlines()) < 20
    for line in _blocks("Your own images", "bash")[0].splitlines():
        words = shlex.split(line, comments=True)
        assert words[:3] == ["python", "-m", "dml"]
        quick = ["--trainer.max_epochs", "2", "--trainer.accelerator", "cpu"] if words[3] == "fit" else []
        assert main(words[3:] + quick) == 0
    found = capsys.readouterr().out.rpartition("search")[2]
    assert len(re.findall(r"\w+/\d+\.png", found)) >= 5
    exec(_blocks("From Python", "python")[0], {})
    score, shape = capsys.readouterr().out.splitlines()[-2:]
    assert 0 < float(score) <= 1
    assert shape == "(2, 64)"


def test_every_verb_is_told_of():
    assert [verb for verb in VERBS if f"`{verb}`" not in README] == []


def test_every_picture_is_there():
    root = Path(__file__).parent.parent
    assert [link for link in re.findall(r"!\[[^]]*\]\(([^)]*)\)", README) if not (root / link).is_file()] == []
