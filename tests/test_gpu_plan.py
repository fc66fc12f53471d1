"""What is run on a GPU runs small on any machine, to the end, and leaves its page."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the plan itself is run")
def test_every_part_of_the_plan_runs_on_the_cpu(tmp_path):
    labels = np.arange(400) % 10
    images = np.random.default_rng(0).integers(0, 255, (400, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    page = tmp_path / "gpu.md"
    words = ["--root", str(tmp_path / "images.npz"), "--scale", "0.003", "--output", str(page)]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"failed: .*|left out: .*|fails: .*", text) == []
    assert text.count("\n## ") == 7
    assert "none differ between CPU and cpu" in text
