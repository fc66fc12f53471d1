"""How a training run that is a trial of a sweep reports its scores to it."""

import json
import os
from collections.abc import Mapping

from lightning.pytorch import Callback

from dml.experiments.sweep import TRIAL_VARIABLE


def trial_callbacks(environment: Mapping[str, str] = os.environ) -> list[Callback]:
    """Return the callback that reports scores to a sweep that prunes; none outside a sweep.

    Args:
        environment: Of the process.

    Example:
        >>> trial_callbacks({})
        []
    """
    text = environment.get(TRIAL_VARIABLE)
    if not text:
        return []
    from dml.experiments.sweep.pruning import Report, TrialReports  # loads Optuna, which a training does not need

    return [TrialReports(Report(**json.loads(text)))]
