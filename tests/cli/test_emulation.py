"""Warnings of a precision that a processor only imitates."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

from dml.cli.running import emulation
from dml.cli.running.emulation import warn_of_emulation

_IMITATED = """
import sys
import dml.cli.running.emulation as emulation
from dml.cli import main
emulation.computes_bfloat16 = lambda: False
sys.exit(main(["fit", "--name", "slow", "--trainer.precision", "bf16-mixed", "--trainer.max_steps", "0"]))
"""


def _trainer(precision: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )


def test_imitated_precision_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation, "computes_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="--trainer.precision 32-true"):
        warn_of_emulation(_trainer("bf16-mixed"))


@pytest.mark.parametrize(("precision", "able"), [("32-true", False), ("bf16-mixed", True)])
def test_what_is_not_imitated_is_not(monkeypatch: pytest.MonkeyPatch, precision: str, able: bool) -> None:
    monkeypatch.setattr(emulation, "computes_bfloat16", lambda: able)
    trainer = _trainer(precision)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_emulation(trainer)


def test_warnings_are_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _IMITATED]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert lines[0].startswith("warning: this processor imitates bfloat16")
    assert len(lines) == 2  # the other is the mistake
