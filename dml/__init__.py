"""Deep metric learning: labelled images in, a searchable embedding space out.

The package's front page imports nothing heavy: `import dml` does not load torch.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dml")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
