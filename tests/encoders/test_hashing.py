"""The hash of an encoder changes with whatever changes its embeddings, and with nothing else."""

import copy
import importlib.util
import sys

import pytest
import torch

from dml.encoders import encoder_hash

CODE = """
from dml.encoders import Encoder

class Scaled(Encoder):
    def forward(self, images):
        return {times} * images.flatten(1)
"""


def _make(folder, times):
    """Import a file that was edited: the same names, another `forward`."""
    folder.mkdir()
    (folder / "own.py").write_text(CODE.format(times=times))
    spec = importlib.util.spec_from_file_location("own", folder / "own.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # a class is looked for in its module
    sys.modules["own"] = module
    return module.Scaled()


def test_the_code_of_a_class_counts(tmp_path):
    hashes = [encoder_hash(_make(tmp_path / name, times)) for name, times in (("a", 2), ("b", 3), ("c", 2))]
    assert hashes[0] == hashes[2] != hashes[1]


def test_stored_functions_count(tmp_path):
    encoder = _make(tmp_path / "a", 2)
    hashes = []
    for activation in (torch.relu, torch.sigmoid, torch.relu):
        encoder.activation = activation
        hashes.append(encoder_hash(encoder))
    assert hashes[0] == hashes[2] != hashes[1]


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    plain = _make(tmp_path / "a", 2)
    text = CODE.format(times=2).replace("(Encoder):", '(Encoder):\n    """Says what it does."""\n    # and why\n')
    hashes = [encoder_hash(plain)]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "own.py").write_text(text.replace("* images", "*   images"))
    spec = importlib.util.spec_from_file_location("own", tmp_path / "b" / "own.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["own"] = module
    hashes.append(encoder_hash(module.Scaled()))
    assert hashes[0] == hashes[1]


def test_another_release_of_torch_gives_the_same_hash(monkeypatch):
    layer = torch.nn.Linear(2, 2)
    before = encoder_hash(layer)
    monkeypatch.setattr("inspect.getsource", lambda kind: "class Linear: pass  # another release")
    assert encoder_hash(layer) == before


BASES = """
from dml.encoders import Encoder

class Base(Encoder):
    def forward(self, images):
        return {times} * images.flatten(1)

class Scaled(Base):
    pass
"""


def test_the_code_of_base_classes_counts(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "CODE", BASES)
    hashes = [encoder_hash(_make(tmp_path / name, times)) for name, times in (("a", 2), ("b", 3), ("c", 2))]
    assert hashes[0] == hashes[2] != hashes[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"scale": 1.0, "deep": {"by": 2}}, {"scale": 1.0, "deep": {"by": 3}}),
        ({"a", "b"}, {"a", "c"}),
    ],
)
def test_settings_in_groups_count(tmp_path, one, other):
    encoder, hashes = _make(tmp_path / "a", 2), []
    for value in (one, other, copy.deepcopy(one)):
        encoder.setting = value
        hashes.append(encoder_hash(encoder))
    assert hashes[0] == hashes[2] != hashes[1]


def test_what_forward_keeps_does_not_count(tmp_path):
    encoder = _make(tmp_path / "a", 2)
    encoder.grids = {}
    before = encoder_hash(encoder)
    encoder.grids[8] = encoder.last = torch.rand(8)
    assert encoder_hash(encoder) == before
