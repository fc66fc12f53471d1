"""The hash of an encoder changes with whatever changes its embeddings, and with nothing else."""

import importlib.util
import sys

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
