"""Checks, before anything is trained, that the scores a run is to monitor are ones it will log."""

from collections.abc import Mapping
from difflib import get_close_matches

from dml.callbacks import KNNEvaluation
from dml.errors import UserError
from dml.evaluation.classification import MACRO
from dml.evaluation.wanted import score_names, want
from dml.modules import AutoencoderModule, ClassifierModule
from dml.modules.base import TrainableModule

_WATCHED = ("spread", "effective_rank", "dead_dimensions")
_TRAINED = ("loss", "grad_norm", "spread", "active_tuples", "loss_if_collapsed")


def logged_scores(module: TrainableModule, evaluation: KNNEvaluation) -> list[str]:
    """Return the names of all scores that a run can log while it is trained.

    Args:
        module: One of `dml.modules`.
        evaluation: What scores its embeddings.

    Example:
        >>> from dml.decoders import MLPDecoder
        >>> from dml.encoders import MLPEncoder
        >>> names = logged_scores(AutoencoderModule(MLPEncoder(2), MLPDecoder()), KNNEvaluation(ks=(1,)))
        >>> names[:4], "val/recall_at_1" in names, "val/recall_at_5" in names
        (['val/loss', 'val/mse', 'train/mse', 'val/spread'], True, False)
    """
    names = ["val/loss"]
    if isinstance(module, AutoencoderModule):
        names += ["val/mse", "train/mse", *(["val/elbo"] if module.beta is not None else [])]
    if isinstance(module, ClassifierModule):
        names += ["val/accuracy", "train/accuracy", *(f"val/{name}" for name in MACRO)]
    names += [f"val/{name}" for name in _WATCHED] + [f"train/{name}" for name in _TRAINED]
    if evaluation.retrieval:
        wanted = want(evaluation.scores, evaluation.ks, evaluation.knn_ks)
        votes = [f"val/knn_{name}" for name in MACRO] + ["train/knn_accuracy"]
        names += [
            *(f"val/{name}" for name in wanted.columns),
            "val/num_lone_queries",
            *(votes if wanted.voters else []),
        ]
    return names


def check_monitors(module: TrainableModule, evaluation: KNNEvaluation, wanted: Mapping[str, object]) -> None:
    """Refuse to monitor a score that is not logged; a module from another package may log anything.

    Args:
        module: What is trained.
        evaluation: What scores its embeddings.
        wanted: Scores by the key that names them; a value that is not text names none.

    Raises:
        UserError: Names the key, the score and the nearest that is logged.

    Example:
        >>> from dml.encoders import LinearEncoder
        >>> from dml.losses import PullLoss
        >>> from dml.modules import EmbeddingModule
        >>> module = EmbeddingModule(LinearEncoder(2), PullLoss())
        >>> check_monitors(module, KNNEvaluation(), {"checkpoint.monitor": "val/mapp"})
        Traceback (most recent call last):
        ...
        dml.errors.UserError: checkpoint.monitor='val/mapp' is not logged by this run: did you mean val/map?
    """
    if not type(module).__module__.startswith("dml."):
        return
    known = logged_scores(module, evaluation)
    for key, name in wanted.items():
        if isinstance(name, str) and name not in known:
            if evaluation.retrieval and name.removeprefix("val/") in score_names(evaluation.ks, evaluation.knn_ks):
                raise UserError(f"{key}={name!r} is not logged by this run: name it in evaluation.scores too")
            near = get_close_matches(name, known, n=1)
            mend = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
            raise UserError(f"{key}={name!r} is not logged by this run: {mend}")
