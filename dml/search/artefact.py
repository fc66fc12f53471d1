"""A folder that `dml export` wrote: its file names and its manifest, checked by checksums; no torch here."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from dml import runs
from dml.errors import UserError, printable, reason_of
from dml.search.store import METRICS

FORMAT = 1
MANIFEST = "manifest.json"
ENCODER = "encoder.onnx"
WEIGHTS = "weights.safetensors"
CLASSES = "classes.json"
INDEX = "index.npz"
CALIBRATION = "calibration.json"
GOLDEN = "golden.npz"
VALIDATION = "validation.npz"
CARD = "MODEL_CARD.md"


def is_artefact(path: str | Path) -> bool:
    """Tell whether a path is a folder that `dml export` wrote.

    Example:
        >>> is_artefact("no/such/folder")
        False
    """
    try:
        return (Path(path) / MANIFEST).is_file()
    except (OSError, ValueError):  # a name that no system takes
        return False


@final
@dataclass(frozen=True)
class Artefact:
    """What the manifest of an exported folder says.

    Attributes:
        folder: Where it is.
        weights: The hash that its index and its encoder share.
        metric: `l2` or `cosine`.
        image_shape: (C, H, W) images are brought to before they enter the graph.
        embedding_dim: D.
        files: SHA-256 of every other file, by its name.
        about: All that the manifest holds.
    """

    folder: Path
    weights: str
    metric: str
    image_shape: tuple[int, int, int]
    embedding_dim: int
    files: dict[str, str]
    about: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> "Artefact":
        """Read the manifest; the other files are read when they are asked for.

        Raises:
            UserError: The folder is not an artefact, or its manifest is damaged or of another format.

        Example:
            >>> Artefact.load("no_such_folder")
            Traceback (most recent call last):
            ...
            dml.errors.UserError: no_such_folder is not an artefact: it holds no manifest.json; give a folder written
            by `dml export`
        """
        place = Path(folder)
        if not is_artefact(place):
            told = f"{place} is not an artefact: it holds no {MANIFEST}; give a folder written by `dml export`"
            raise UserError(told)
        about = runs.read_json(place / MANIFEST)
        foreign = f"{place / MANIFEST} is not the manifest of an artefact"
        try:
            if about["format"] != FORMAT:
                raise UserError(f"{foreign} of format {FORMAT}, but {about['format']}: export the run again")
            channels, height, width = (int(side) for side in about["image_shape"])
            sums = {str(name): str(entry["sha256"]) for name, entry in about["files"].items()}
            weights, metric, dim = str(about["weights"]), str(about["metric"]), int(about["embedding_dim"])
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{foreign} ({reason_of(error)}): export the run again") from error
        plain = all(name == Path(name).name and printable(name) == name for name in sums)
        if metric not in METRICS or channels not in (1, 3) or min(height, width, dim) < 1 or not plain:
            raise UserError(f"{foreign}: its values are out of range; export the run again")
        return cls(place, weights, metric, (channels, height, width), dim, sums, about)

    def read(self, name: str) -> bytes:
        """Return a file whole, once its checksum has been compared.

        Raises:
            UserError: It is missing, or is not the file that was exported.
        """
        path = self.folder / name
        try:
            content = runs.read_bytes(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({reason_of(error)}): export the run again") from error
        if hashlib.sha256(content).hexdigest() != self.files.get(name):
            raise UserError(f"{path} is damaged or not the file that was exported: its SHA-256 differs")
        return content

    @property
    def threshold(self) -> float | None:
        """The distance that `dml calibrate` found for the run; None if the run was not calibrated."""
        if CALIBRATION not in self.files:
            return None
        found = runs.read_json(self.folder / CALIBRATION)
        value = found.get("threshold") if isinstance(found, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{self.folder / CALIBRATION} holds no threshold: export the run again")
        return float(value)
