"""Shell completion: what bash offers at a place of the command line, and that every verb hands over its options."""

import shutil
import subprocess
from importlib import import_module

import pytest

from dml.cli import VERBS, module_of
from dml.cli.completion import SHELLS, script

_ASK = """
cd "$1"
source ./completion.bash
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_dml
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    """Return what bash offers for the last word of a command line, in a folder with one file and one folder."""
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    folder = tmp_path_factory.mktemp("completion")
    (folder / "completion.bash").write_text(script("bash"))
    (folder / "recipe.yaml").touch()
    (folder / "runs").mkdir()

    def ask(*words):
        quoted = " ".join(f"'{word}'" for word in words)
        code = ["bash", "--norc", "-c", _ASK.format(words=quoted), "bash", str(folder)]
        done = subprocess.run(code, capture_output=True, text=True, check=True, timeout=200)
        return done.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dml", "s"), ["sweep", "stages", "search"]),
        (("dml", "sweep", "--ov"), ["--over"]),
        (("dml", "sweep", "--search", ""), ["grid", "random", "bayes"]),
        (("dml", "fit", "--trainer.m"), ["--trainer.max_epochs"]),
        (("dml", "fit", "--config", "re"), ["recipe.yaml"]),
        (("dml", "fit", "--config", "recipe.yaml", "--na"), ["--name"]),
        (("dml", "compare", "--sp"), ["--split"]),
        (("dml", "compare", "ru"), ["runs"]),
        (("dml", "report", "--ov"), []),  # another verb's
        (("dml", "completion", ""), ["bash", "zsh", "tcsh"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bash_offers_what_stands_at_this_place(offered, words, expected):
    assert offered(*words) == expected


def test_every_verb_is_offered(offered):
    assert offered("dml", "") == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_hands_over_its_parser(verb):
    assert import_module(module_of(verb)).build_parser().prog == f"dml {verb}"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(dml, shell):
    code, out, _ = dml("completion", shell)
    assert code == 0
    assert all(verb in out for verb in VERBS)
