import numpy as np
import pytest

from dml.neighbors.ranking import tiles


@pytest.fixture(scope="session")
def blobs():
    """300 embeddings (300,16) of 12 overlapping classes of unequal size, and their labels."""
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(12).repeat(4), rng.integers(0, 12, 252)])
    x = rng.standard_normal((12, 16))[y] + 1.5 * rng.standard_normal((300, 16))
    return x.astype(np.float32), y


@pytest.fixture(params=["small", "tiles"])
def each_way(request, monkeypatch):
    """Rank small sets at once, as they are, and tile by tile like large ones."""
    if request.param == "tiles":
        monkeypatch.setattr(tiles, "SMALL", 0)
