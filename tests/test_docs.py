"""The pages of the documentation: the classes they show train, and their commands name what there is."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from dml import runs
from dml.cli import VERBS, fit, main, module_of
from dml.cli.shared.options import as_keys, with_default
from dml.cli.trainer import TrainerCLI

_DOCS = Path(__file__).parents[1] / "docs"
_PAGES = sorted(_DOCS.rglob("*.md"))
_OWN_PARTS = _DOCS / "guides" / "own_parts.md"  # names classes that a reader writes
_OTHERS = [page for page in _PAGES if page != _OWN_PARTS]
_QUICK = ("--trainer.max_epochs=1", "--trainer.accelerator=cpu")
_BARE = ("--evaluation.baselines=false", "--pictures={projection: none, gallery_queries: 1, gallery_neighbors: 1}")


def _blocks(page, language):
    return re.findall(rf"```{language}([^\n]*)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def _commands(page):
    """Yield the words after `dml` of every command of a page, up to where its output goes."""
    for _, block in _blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "dml" in words[:8] and "docker" not in words:
                yield words[words.index("dml") + 1 : words.index(">") if ">" in words else None]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_commands_name_what_there_is(page):
    for words in _commands(page):
        assert words[0] in VERBS, words
        if "--config" in words and "/" in (name := words[words.index("--config") + 1]) and not name.startswith("runs/"):
            assert Path(runs.recipe_file(name)).is_file(), words
        told = import_module(module_of(words[0])).build_parser().format_help()
        plain = {word.partition("=")[0] for word in words if word.startswith("--") and "." not in word}
        assert [option for option in plain if option not in told and not option.startswith("--model")] == []


@pytest.mark.parametrize("page", [*_OTHERS, _DOCS.parent / "README.md"], ids=lambda page: page.stem)
def test_keys_of_recipes_are_taken(page, monkeypatch):
    def enough(cli):
        raise SystemExit

    monkeypatch.setattr(TrainerCLI, "instantiate_classes", enough)  # what comes before it reads and checks every key
    for words in _commands(page):
        if words[0] == "fit" and any("." in word for word in words if word.startswith("--")):
            options, keys = fit.build_parser().parse_known_args(words[1:])
            recipes = [name for name in options.config or () if name != "recipe.yaml"]  # a reader's own
            with pytest.raises(SystemExit):
                TrainerCLI(as_keys(with_default(recipes, keys), keys), None)


def test_classes_of_a_readers_own_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    files = {re.search(r'title="(.*?)"', title)[1]: code for title, code in _blocks(_OWN_PARTS, "python")}
    for name, code in files.items():
        Path(name).write_text(code, encoding="utf-8")
    for number, words in enumerate(_commands(_OWN_PARTS)):
        own = [*_QUICK, *_BARE, "--name", str(number)] if words[0] == "fit" else []
        assert main([*words, *own]) == 0, words
    capsys.readouterr()
    exec(compile(files["score.py"], "score.py", "exec"), {})
    assert re.fullmatch(r"nearest class mean: 0\.\d{3}\n", capsys.readouterr().out)
