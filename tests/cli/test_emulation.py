"""Warnings of a precision that a processor only imitates."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Trainer

from dml.cli.running import emulation
from dml.cli.running.emulation import warn_of_emulation


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


def test_fit_warns_in_one_line(monkeypatch: pytest.MonkeyPatch, dml: Callable[..., tuple[int, str, str]]) -> None:
    monkeypatch.setattr(emulation, "computes_bfloat16", lambda: False)
    keys = ("--trainer.precision=bf16-mixed", "--trainer.accelerator=cpu", "--trainer.max_steps=0")
    with pytest.warns(UserWarning, match="this processor imitates bfloat16"):
        assert dml("fit", *keys)[0] == 2
    assert warnings.formatwarning("slow\n here", UserWarning, "file.py", 1) == "warning: slow here\n"
