import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def real_data() -> Path:
    root = Path(os.environ.get("DML_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    if not root.exists():
        pytest.skip("no real data: set DML_DATA to its folder")
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep decoded images of tests out of the user's cache."""
    monkeypatch.setenv("DML_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 12 images of several sizes; the class is the brightest channel."""
    rng = np.random.default_rng(0)
    root = tmp_path / "photos"
    for c, name in enumerate(["ash", "birch tree", "çédille"]):
        (root / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 120, (20 + i, 30, 3), dtype=np.uint8)
            pixels[:, :, c] += 100
            Image.fromarray(pixels).save(root / name / f"img {i}.png")
    return root
