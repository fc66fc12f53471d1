"""Exports runs as artefacts that need no torch: a folder with the encoder as ONNX, its index, and proof that they work.

`dml.export.write` writes one and loads torch; `dml.export.verify` checks one with only onnxruntime and NumPy.
"""

from dml.export.verify import Check, verify_artefact

__all__ = ["Check", "verify_artefact"]
