"""The pages of the documentation: the classes they show train, and their commands name what there is."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from dml import runs
from dml.cli import VERBS, main, module_of

_DOCS = Path(__file__).parents[1] / "docs"
_PAGES = sorted(_DOCS.rglob("*.md"))
_QUICK = ("--trainer.max_epochs=1", "--trainer.accelerator=cpu")
_BARE = ("--evaluation.baselines=false", "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}")


def _blocks(page, language):
    return re.findall(rf"```{language}([^\n]*)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def _commands(page):
    """Yield the words after `dml` of every command of a page."""
    for _, block in _blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "dml" in words[:8] and "docker" not in words:
                yield words[words.index("dml") + 1 :]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_commands_name_what_there_is(page):
    for words in _commands(page):
        assert words[0] in VERBS, words
        if "--config" in words and "/" in (name := words[words.index("--config") + 1]) and not name.startswith("runs/"):
            assert Path(runs.recipe_file(name)).is_file(), words
        told = import_module(module_of(words[0])).build_parser().format_help()
        plain = {word.partition("=")[0] for word in words if word.startswith("--") and "." not in word} - {">"}
        assert [option for option in plain if option not in told and not option.startswith("--model")] == []


def test_classes_of_a_readers_own_train(tmp_path, monkeypatch, capsys):
    page = _DOCS / "guides" / "own_parts.md"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    files = {re.search(r'title="(.*?)"', title)[1]: code for title, code in _blocks(page, "python")}
    for name, code in files.items():
        Path(name).write_text(code, encoding="utf-8")
    for number, words in enumerate(_commands(page)):
        own = [*_QUICK, *_BARE, "--name", str(number)] if words[0] == "fit" else []
        assert main([*words, *own]) == 0, words
    capsys.readouterr()
    exec(compile(files["score.py"], "score.py", "exec"), {})
    assert re.fullmatch(r"nearest class mean: 0\.\d{3}\n", capsys.readouterr().out)
