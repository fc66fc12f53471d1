"""Artefacts of runs that need no torch: a folder with the encoder as ONNX, its index, and what proves it right.

`dml.export.write` writes one and loads torch; `dml.export.verify` checks one by onnxruntime and NumPy alone.
"""

from dml.export.verify import Check, verify_artefact

__all__ = ["Check", "verify_artefact"]
