"""Synthetic points in the plane, for studies that can be drawn. A point is an image of 1 × 2 pixels."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dml.data.catalog import ArrayReader, Catalog, Source
from dml.data.sources.arrays import hash_array
from dml.errors import UserError


def draw_points(
    kind: Literal["blobs", "rings", "moons", "spirals"], per_class: int, classes: int, noise: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw labelled points in the square -1..1.

    Args:
        kind: blobs: around centres on a circle of radius 0.6; rings: circles about 0; moons: two half circles that
            reach into each other (two classes only); spirals: arms that wind about 0.
        per_class: points of each class.
        classes: number of classes.
        noise: standard deviation of Gaussian noise on both coordinates; points are cut off at the square.
        seed: any whole number from 0 on.

    Returns:
        points (N, 2) and labels (N,), class by class.

    Example:
        >>> points, labels = draw_points("rings", 50, 3, noise=0.0, seed=0)
        >>> float(np.linalg.norm(points[labels == 2], axis=1).round(3).max())
        0.9
    """
    if kind == "moons" and classes != 2:
        raise UserError(f"kind=moons has two classes, not {classes}: set classes to 2 or choose another kind")
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(classes), per_class)
    t = rng.random(len(label))
    turn = 2 * math.pi * label / classes
    if kind == "blobs":
        x, y = 0.6 * np.cos(turn), 0.6 * np.sin(turn)
    elif kind == "rings":
        radius = 0.9 * (label + 1) / classes
        x, y = radius * np.cos(2 * math.pi * t), radius * np.sin(2 * math.pi * t)
    elif kind == "spirals":
        x, y = 0.9 * t * np.cos(turn + 4 * t), 0.9 * t * np.sin(turn + 4 * t)
    else:
        side = 1 - 2 * label
        x, y = 0.6 * np.cos(math.pi * t) - 0.3 * side, side * (0.6 * np.sin(math.pi * t) - 0.2)
    points = np.stack([x, y], axis=1) + noise * rng.standard_normal((len(label), 2))
    return points.clip(-1, 1), label


class Points(Source):
    """Labelled points in the plane as images of one channel, height 1 and width 2.

    With the datamodule's own mean and std (.5) a batch holds the points' coordinates themselves, unrounded.

    Args:
        kind: see `draw_points`; likewise the others.
        per_class: points of each class.
        classes: number of classes.
        noise: standard deviation of the noise.
        seed: chooses the points; the same for every split.

    Example:
        >>> Points("blobs", per_class=20).open().values.shape
        (60, 1, 1, 2)
    """

    def __init__(
        self,
        kind: Literal["blobs", "rings", "moons", "spirals"] = "blobs",
        per_class: int = 100,
        classes: int = 3,
        noise: float = 0.15,
        seed: int = 0,
    ) -> None:
        self.kind: Literal["blobs", "rings", "moons", "spirals"] = kind
        self.per_class = per_class
        self.classes = classes
        self.noise = noise
        self.seed = seed

    def open(self) -> Catalog:
        """Draw the points."""
        points, labels = draw_points(self.kind, self.per_class, self.classes, self.noise, self.seed)
        values = (127.5 * (points + 1)).astype(np.float32)
        return Catalog(
            labels=labels.astype(np.int64),
            class_names=[str(i) for i in range(self.classes)],
            names=[f"point-{i}" for i in range(len(labels))],
            reader=ArrayReader(np.rint(values).astype(np.uint8)[:, None, :]),
            channels=1,
            fingerprint=hash_array(values),
            values=values[:, None, None, :],
        )
