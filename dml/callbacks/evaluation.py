"""Scores the embedding while it is learnt, beside raw pixels and the untrained encoder, with `dml.evaluation`."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dml.callbacks.embeddings import Collector, Embedded, encoder_of
from dml.data import Batch
from dml.encoders import Encoder, FlattenEncoder
from dml.errors import UserError
from dml.evaluation import retrieval_scores

Scores = dict[str, float]
_WATCHED = 2000  # about so many references are queries for train/knn_accuracy


@final
class KNNEvaluation(Callback):
    """Score the held-back images as queries by their nearest references at the end of every validation and test.

    References are the training images, or on class-disjoint splits the other held-back images (leave-one-out). Logs
    `val/knn_accuracy`, `val/recall_at_1`, `val/map_at_r` and more; `train/knn_accuracy` is the references' own,
    leave-one-out (every n-th of them, 2,000 to 4,000 where there are more).

    Args:
        k: Neighbours that vote for `knn_accuracy`, ≥ 1.
        ks: Depths of `recall_at_k` and `precision_at_k`.
        baselines: Whether raw pixels and the untrained encoder are scored before training starts.
        retrieval: Whether to search at all; False leaves the module's own scores alone: a head on many
            large embeddings is learnt faster than these are searched.

    Raises:
        UserError: k is larger than the reference set, or the embeddings are not finite: training diverged.

    Example:
        >>> KNNEvaluation(k=36).k
        36
    """

    def __init__(
        self, k: int = 5, ks: Sequence[int] = (1, 5, 10), baselines: bool = True, retrieval: bool = True
    ) -> None:
        self.k = k
        self.ks = tuple(ks)
        self.with_baselines = baselines and retrieval
        self.retrieval = retrieval
        self.baselines: dict[str, dict[str, Scores]] = {}
        self.queries: Embedded | None = None  # of the latest evaluation, for pictures
        self.references: Embedded | None = None
        self._collectors: dict[int, Collector] = {}
        self._scored: tuple[list[Embedded], dict[str, Scores]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the baselines: a resumed run cannot score its untrained encoder again."""
        return {"baselines": self.baselines}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the baselines of the run that is resumed."""
        self.baselines = state_dict["baselines"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score raw pixels and the untrained encoder."""
        loaders = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        if not loaders:
            raise UserError("the split has no validation images: set data.split.val above 0")
        if not self.with_baselines or self.baselines:
            return
        compared: dict[str, Encoder] = {"pixels": FlattenEncoder()}
        if any(p.requires_grad for p in encoder_of(pl_module).parameters()):  # else it is no less trained at the end
            compared["untrained"] = encoder_of(pl_module)
        for name, encoder in compared.items():
            sets = [_embed(encoder, loader, pl_module.device) for loader in loaders]
            self.baselines[name] = self._score(sets, pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's embeddings."""
        self._collectors.setdefault(dataloader_idx, Collector()).add(outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's embeddings."""
        self._collectors.setdefault(dataloader_idx, Collector()).add(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the validation images."""
        self._log("val", pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the test images."""
        self._log("test", pl_module)

    def _log(self, split: str, pl_module: LightningModule) -> None:
        sets = [self._collectors[loader].collect() for loader in sorted(self._collectors)]
        self._collectors = {}
        # squared, as distances are: they overflow before the embeddings do
        wrong = sum(int((~torch.isfinite(rows.embeddings.square().sum(dim=1).mul(4))).sum()) for rows in sets)
        if wrong:
            raise UserError(f"{wrong} embeddings are NaN or too large: training diverged; lower --model.optimizer.lr")
        self.queries, self.references = sets[0], sets[-1]
        if not self.retrieval:
            return
        if self._scored is None or not _equal(self._scored[0], sets):  # a frozen encoder's are as they were
            self._scored = sets, self._score(sets, pl_module.device)
        for name, scores in self._scored[1].items():
            for score, value in scores.items():
                prefix = split if name == "val" else name
                bar = prefix == split and score in {"knn_accuracy", "map_at_r"}
                pl_module.log(f"{prefix}/{score}", value, prog_bar=bar, rank_zero_only=False)

    def _score(self, sets: list[Embedded], device: torch.device) -> dict[str, Scores]:
        """Return the scores of the queries and, where references are apart, the k-NN accuracy of these."""
        queries, references = sets[0], sets[-1]
        scores = {"val": self._scores(queries, None if len(sets) == 1 else references, device)}
        watched = _some(references)
        if len(sets) > 1 and bool((references.labels.bincount()[watched.labels] > 1).any()):  # else all are lone
            own = self._scores(watched, references, device)
            scores["train"] = {"knn_accuracy": own["knn_accuracy"]}
        return scores

    def _scores(self, queries: Embedded, references: Embedded | None, device: torch.device) -> Scores:
        return retrieval_scores(
            queries.embeddings,
            queries.labels,
            None if references is None else references.embeddings,
            None if references is None else references.labels,
            ks=self.ks,
            knn_ks=(self.k,),
            device=device,
            query_ids=queries.ids,
            reference_ids=None if references is None else references.ids,
        )


def _equal(one: list[Embedded], other: list[Embedded]) -> bool:
    columns = [pair for first, second in zip(one, other, strict=False) for pair in zip(first, second, strict=True)]
    return len(one) == len(other) and all(torch.equal(left, right) for left, right in columns)


def _some(references: Embedded) -> Embedded:
    """Return references that stand for all as queries: their accuracy is watched, not reported to the last digit."""
    step = max(1, len(references.ids) // _WATCHED)
    return Embedded(*(column[::step] for column in references))


@torch.no_grad()
def _embed(encoder: Encoder, loader: Iterable[Batch], device: torch.device) -> Embedded:
    training = encoder.training
    encoder.eval()
    collector = Collector()
    for batch in loader:
        images: Tensor = batch.images.to(device)
        collector.add(encoder(images), batch)
    encoder.train(training)
    return collector.collect()
