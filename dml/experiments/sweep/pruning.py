"""Early stopping across trials: each reports its score after every epoch, and those far behind the others end."""

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

import optuna
from lightning.pytorch import Callback, LightningModule, Trainer

from dml.errors import UserError
from dml.experiments.sweep import TRIAL_VARIABLE
from dml.experiments.sweep.search import Mode
from dml.experiments.sweep.storage import open_storage, reaching


class PrunedError(UserError):
    """A trial that ended early because others were ahead of it at the same epoch."""

    exit_code: ClassVar[int] = 6


@final
@dataclass(frozen=True)
class Pruning:
    """Asynchronous successive halving (ASHA, Li et al. 2020): at `first`, `first·factor`, … epochs the best go on.

    Args:
        first: Epochs that every trial has, at least 1.
        factor: One of so many goes on at each of these epochs, at least 2.
    """

    first: int
    factor: int

    def pruner(self) -> optuna.pruners.BasePruner:
        """Return Optuna's pruner."""
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=self.first, reduction_factor=self.factor)


@final
@dataclass(frozen=True)
class Report:
    """Where a trial reports to.

    Args:
        storage: The study's address.
        study: Its name.
        number: The trial's number in it.
        score: The score told, e.g. `val/map_at_r`.
        mode: Whether more (`max`) or less (`min`) of it is better.
        first: As in `Pruning`.
        factor: As in `Pruning`.
    """

    storage: str
    study: str
    number: int
    score: str
    mode: Mode
    first: int
    factor: int

    def variables(self) -> dict[str, str]:
        """Return the environment variables that pass this to a process."""
        return {TRIAL_VARIABLE: json.dumps(asdict(self))}


@final
class TrialReports(Callback):
    """Report the score to a study after each validated epoch, and end training if the study says so.

    Args:
        report: Where to.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._validated = False
        self._known: optuna.trial.Trial | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that there are new scores."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and end if others are ahead.

        Raises:
            PrunedError: They are.
            UserError: The training does not log the score.
        """
        if not self._validated:
            return
        self._validated = False
        score, epoch = self._report.score, trainer.current_epoch + 1
        if score not in trainer.callback_metrics:
            logged = ", ".join(sorted(name for name in trainer.callback_metrics if "/" in name))
            raise UserError(f"no score {score!r} while training, to prune by: choose one of {logged}")
        value = float(trainer.callback_metrics[score])
        prune = self._tell(epoch, value) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(prune):
            raise PrunedError(f"{score} {value:.4f} after {epoch} epochs is behind the other trials'")

    def _tell(self, epoch: int, value: float) -> bool:
        with reaching(self._report.storage):
            trial = self._trial()
            known: Any = trial.study._storage.get_trial(trial._trial_id)
            if known.state.is_finished():  # another worker took the trial over and was faster
                return False
            if epoch not in known.intermediate_values:  # not told before this training was cut off and went on
                trial.report(value, epoch)
            return trial.should_prune()

    def _trial(self) -> optuna.trial.Trial:
        if self._known is None:
            report = self._report
            study = optuna.load_study(
                study_name=report.study,
                storage=open_storage(report.storage),
                pruner=Pruning(report.first, report.factor).pruner(),
            )
            identity = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, report.number)
            self._known = optuna.trial.Trial(study, identity)
        return self._known
