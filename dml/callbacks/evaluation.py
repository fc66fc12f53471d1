"""Scores the embedding while it is learnt, beside raw pixels and the untrained encoder."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, final

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy
from torch import nn

from dml.callbacks.baselines import Sample, draw_sample, embed_sides
from dml.callbacks.collector import Collector, encoder_of
from dml.data import Batch, LabelledData, datamodule_of
from dml.embeddings import EmbeddingSet
from dml.encoders import Encoder, FlattenEncoder
from dml.errors import UserError
from dml.evaluation import Evaluation, Neighborhoods, find_neighborhoods, score_queries
from dml.evaluation.wanted import want
from dml.functional.distributed import world_size
from dml.losses.pml import compares_unit_rows
from dml.neighbors.memory import parse_memory
from dml.neighbors.ranking.groups import GroupRule
from dml.ranges import check_number

logger = logging.getLogger(__name__)
Scores = dict[str, float]
_SEARCHED = 20_000  # of more queries, every n-th is searched for pictures and records: hubs show as well
_WATCHED = 2000  # about so many references are queries for train/knn_accuracy


class _Scored(NamedTuple):
    """What was scored, with its result."""

    queries: EmbeddingSet
    references: EmbeddingSet  # the same object for leave-one-out
    evaluation: Evaluation
    train: Scores  # of the references, leave-one-out

    def is_of(self, queries: EmbeddingSet, references: EmbeddingSet) -> bool:
        """Tell whether these sets were scored; a frozen encoder's do not change."""
        return self.queries.equals(queries) and self.references.equals(references)


@final
class KNNEvaluation(Callback):
    """Score the held-back images as queries by their nearest references at the end of every validation and test.

    References are the training images, or on class-disjoint splits the other held-back images (leave-one-out). Logs
    `val/knn_accuracy`, `val/recall_at_1`, `val/map_at_r` and more; `train/knn_accuracy` is the references' own,
    leave-one-out (at most 4,000 of them, evenly spaced). Where several processes train,
    each embeds its share of the images, and each ranks its share of the queries.

    Args:
        k: Neighbours that vote for `knn_accuracy`, ≥ 1.
        ks: The k of `recall_at_k` and `precision_at_k`.
        baselines: Whether raw pixels and the untrained encoder are scored before training starts.
        retrieval: Whether to search at all; False leaves only the module's own scores: a head on many large
            embeddings is learnt faster than these are searched.
        metric: The distance of embeddings: `l2` (Euclidean), or `cosine`, for losses that normalise them.
        max_memory: What the search may use beyond the embeddings: "2GiB", "500MB".
        baseline_memory: What the raw pixels of all scored images may take as numbers. If they take more, or comparing
            every query with every reference compares more than 10¹⁰ pixels, both baselines are scored on a sample of
            half that size that compares no more, and so is the trained encoder beside them.
        groups: Which references a query is compared with: `any`; `same`: those of its own group only; `other`: of other
            groups only; `cross`: all but those of its own group and class. None: as the data say, which is `any` except
            for benchmarks with a rule of their own.
        scores: The scores wanted, e.g. `[recall_at_1, map_at_r, knn_accuracy]`; None: all. Without `map`, `mrr` and
            `ndcg` the nearest references are searched for instead of ranking all.

    Raises:
        UserError: k is larger than the reference set, or a score does not exist.
        LostTrainingError: The embeddings are not finite: training diverged.

    Example:
        >>> KNNEvaluation(k=36).knn_ks
        (36,)
    """

    def __init__(
        self,
        k: int = 5,
        ks: Sequence[int] = (1, 5, 10),
        baselines: bool = True,
        retrieval: bool = True,
        metric: Literal["l2", "cosine"] = "l2",
        max_memory: str = "2GiB",
        baseline_memory: str = "1GiB",
        groups: GroupRule | None = None,
        scores: Sequence[str] | None = None,
    ) -> None:
        check_number("evaluation.k", k, least=1)
        for each in ks:
            check_number("evaluation.ks", each, least=1)
        if not len(ks):
            raise UserError("evaluation.ks=[]: give at least one k, e.g. [1, 5, 10]")
        parse_memory(max_memory)
        try:
            parse_memory(baseline_memory)
        except UserError as error:
            raise UserError(str(error).replace("max_memory", "evaluation.baseline_memory")) from error
        want(scores, tuple(ks), (k,), "evaluation.scores")
        self.k = k
        self.knn_ks: tuple[int, ...] = (k,)
        self.ks = tuple(ks)
        self.with_baselines = baselines and retrieval
        self.retrieval = retrieval
        self.metric = metric
        self.max_memory = max_memory
        self.baseline_memory = baseline_memory
        self.groups = groups
        self.scores = None if scores is None else tuple(scores)
        self.rule = groups or "any"  # of the data at hand
        self.baselines: dict[str, dict[str, Scores]] = {}
        self.queries: EmbeddingSet | None = None  # of the latest evaluation
        self.references: EmbeddingSet | None = None
        self._collectors: dict[int, Collector] = {}
        self._scored: _Scored | None = None
        self._near: Neighborhoods | None = None
        self._sample: Sample | None = None  # that baselines are scored on; None: all

    @property
    def latest(self) -> Evaluation | None:
        """The latest evaluation of the queries, with the scores of each; None before the first."""
        return None if self._scored is None else self._scored.evaluation

    def neighborhoods(self, k: int) -> Neighborhoods:
        """Return the k nearest references of the queries scored last, of more than 20,000 queries every n-th.

        They are searched once for all calls that ask for as many or fewer.
        """
        assert self.queries is not None
        assert self.references is not None
        if self._near is None or self._near.neighbor_ids.shape[1] < min(k, len(self.references) - 1):
            step = -(-len(self.queries) // _SEARCHED)
            queries = self.queries if step == 1 else self.queries.take(slice(None, None, step))
            self._near = find_neighborhoods(queries, self.references, k, self.metric, self.rule)
        return self._near.take(slice(None), k)

    def state_dict(self) -> dict[str, Any]:
        """Return the baselines: a resumed run cannot score its untrained encoder again."""
        return {"baselines": self.baselines}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the baselines of the run that is resumed."""
        self.baselines = state_dict["baselines"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score raw pixels and the untrained encoder; warn if the loss compares by another distance."""
        self._check_metric(pl_module)
        data = datamodule_of(trainer)
        if data is None:
            return  # plain loaders: nothing tells which images to embed before training
        loaders = data.val_dataloader()
        if not loaders:
            raise UserError("the split has no validation images: set data.split.val above 0")
        if not self.with_baselines:
            return
        self._sample = draw_sample(loaders, data.image_shape, parse_memory(self.baseline_memory))
        if self.baselines:
            return
        compared: dict[str, Encoder] = {"pixels": FlattenEncoder()}
        shared = isinstance(trainer.strategy, FSDPStrategy)  # no process holds the weights
        if not shared and any(p.requires_grad for p in encoder_of(pl_module).parameters()):  # a frozen one stays so
            compared["untrained"] = encoder_of(pl_module)
        for name, encoder in compared.items():
            found = embed_sides(encoder, data, loaders, self._sample, pl_module.device)
            sets = [self.grouped(rows, data) for rows in found]
            self.baselines[name] = self._sections(self._score(sets[0], sets[-1], pl_module.device))

    def compared(self) -> dict[str, dict[str, Scores]]:
        """Return the baselines and, if they were scored on a sample, as `trained_sample` the encoder on the same.

        The encoder's intervals are its sections `low` and `high`.
        """
        if self._sample is None or self.queries is None or self.references is None or not self.baselines:
            return self.baselines
        found = zip((self.queries, self.references), self._sample.sides, strict=False)
        sets = [rows.take(rows.positions_of(ids)) for rows, ids in found]
        scored = self._score(sets[0], sets[-1], torch.device("cpu"), alone=True)
        pairs = scored.evaluation.intervals()
        ends = {end: {name: pair[at] for name, pair in pairs.items()} for at, end in enumerate(("low", "high"))}
        return self.baselines | {"trained_sample": self._sections(scored) | ends}

    def _sections(self, scored: _Scored) -> dict[str, Scores]:
        size = {} if self._sample is None else {"sample": self._sample.size}
        return {"val": scored.evaluation.scores} | ({"train": scored.train} if scored.train else {}) | size

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
        self._collectors.setdefault(dataloader_idx, Collector(dataloader_idx)).add(outputs, batch)

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
        self._collectors.setdefault(dataloader_idx, Collector(dataloader_idx)).add(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the validation images."""
        self._log("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the test images."""
        self._log("test", trainer, pl_module)

    def _check_metric(self, pl_module: LightningModule) -> None:
        loss = getattr(pl_module, "loss", None)
        unit = getattr(encoder_of(pl_module), "normalize", False)
        if self.metric == "l2" and not unit and isinstance(loss, nn.Module) and compares_unit_rows(loss):
            logger.warning(
                "%s compares embeddings of length one and they are scored by l2 as they are: "
                "set evaluation.metric to cosine, or normalize on the encoder",
                type(loss).__name__,
            )

    def grouped(self, rows: EmbeddingSet, data: LabelledData | None) -> EmbeddingSet:
        """Return the samples with their groups, if the data have them and a rule needs them."""
        self.rule = self.groups or ("any" if data is None else data.group_rule)
        if data is None or self.rule == "any":
            return rows
        return replace(rows, groups=data.groups_of(rows.ids))

    def _log(self, split: str, trainer: Trainer, pl_module: LightningModule) -> None:
        data = datamodule_of(trainer)
        found = [self._collectors[loader].collect(pl_module.device) for loader in sorted(self._collectors)]
        sets = [self.grouped(rows, data) for rows in found]
        self._collectors = {}
        self.queries, self.references, self._near = sets[0], sets[-1], None
        if not self.retrieval:
            return
        if self._scored is None or not self._scored.is_of(self.queries, self.references):
            self._scored = self._score(self.queries, self.references, pl_module.device)
        for score, value in self._scored.evaluation.scores.items():
            bar = score in {"knn_accuracy", "map_at_r"}
            pl_module.log(f"{split}/{score}", value, prog_bar=bar, rank_zero_only=False)
        for score, value in self._scored.train.items():
            pl_module.log(f"train/{score}", value, rank_zero_only=False)

    def _score(
        self, queries: EmbeddingSet, references: EmbeddingSet, device: torch.device, alone: bool = False
    ) -> _Scored:
        """Score the queries and, if the references are separate, their k-NN accuracy too."""
        found = self._evaluate(queries, references, device, self.rule, self.scores, alone)
        watched = references.take(slice(None, None, max(1, len(references) // _WATCHED)))
        labels, counts = torch.from_numpy(references.labels).unique(return_counts=True)
        lone = labels[counts == 1].tolist()
        train: Scores = {}
        voted = "knn_accuracy" in found.scores
        if voted and references is not queries and not set(watched.labels.tolist()) <= set(lone):
            own = self._evaluate(watched, references, device, "any", ("knn_accuracy",), alone)
            train = {"knn_accuracy": own.scores["knn_accuracy"]}
        return _Scored(queries, references, found, train)

    def _evaluate(
        self,
        queries: EmbeddingSet,
        references: EmbeddingSet,
        device: torch.device,
        rule: GroupRule,
        scores: Sequence[str] | None,
        alone: bool,
    ) -> Evaluation:
        group = dist.group.WORLD if world_size() > 1 and not alone else None
        settings = (self.ks, self.knn_ks, self.max_memory, device, group, self.metric, rule, scores)
        return Evaluation.of(score_queries(queries, references, *settings))
