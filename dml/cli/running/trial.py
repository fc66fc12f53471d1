"""What a training that is a trial of a sweep reports to it by."""

import json
import os
from collections.abc import Mapping

from lightning.pytorch import Callback

from dml.experiments.sweep import TRIAL_VARIABLE


def trial_callbacks(environment: Mapping[str, str] = os.environ) -> list[Callback]:
    """Return the callback by which a sweep that prunes learns of the scores; none in a training of its own.

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
