"""Deep metric learning: labelled images in, a searchable embedding space out.

The package's front page imports nothing heavy: `import dml` does not load torch.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dml.search.embedder import RunEmbedder

__all__ = ["load"]

try:
    __version__ = version("dml")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def load(
    run: str, checkpoint: Literal["best", "last"] = "best", runs_dir: str = "runs", device: str | None = None
) -> "RunEmbedder":
    """Load a run: called on images it returns embeddings; it has an `encoder`, `transform`, `class_names` and `metric`.

    Args:
        run: The run's folder, its name in `runs_dir`, or `latest`.
        checkpoint: Which weights: the best by validation or the last.
        runs_dir: The folder that holds the runs.
        device: Where to compute; None: a GPU where there is one.

    Raises:
        UserError: The run is gone or incomplete, or is not of images.

    Example:
        >>> load("nowhere", runs_dir="no_runs_yet")
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no run 'nowhere': neither a folder of that path nor a run in no_runs_yet
    """
    from dml.search.embedder import RunEmbedder  # loads torch

    return RunEmbedder(run, checkpoint, runs_dir, device)
