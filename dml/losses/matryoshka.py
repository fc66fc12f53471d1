"""One embedding for every size: a loss on several nested widths at once."""

import copy
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from dml.errors import UserError
from dml.losses.memory import CrossBatchMemory, loss_against
from dml.losses.pml import takes_tuples
from dml.ranges import check_number, check_widths


@final
class MatryoshkaLoss(nn.Module):
    """Make the first coordinates of an embedding a good embedding too, at several widths at once.

    L = Σ weights[i] · loss_i(embeddings[:, :dims[i]], labels)

    Every width has a loss of its own: copies of one, or those of a list. If a loss learns weights (proxies,
    centres), a copy keeps the first coordinates of each of them, and learns them apart from the other widths. For that,
    exactly one axis of each weight must be as long as the embedding; if a weight has two such axes (as many
    classes as dimensions), give a list of losses, one for each width, built with its `embedding_size`.

    A memory belongs outside: `CrossBatchMemory(MatryoshkaLoss(…))`. A miner sees the whole embedding, and all widths
    take its tuples.

    Args:
        loss: `loss(embeddings, labels) -> scalar` of `dml.losses` or of pytorch-metric-learning, or one for each width.
        dims: Widths, ascending; the last is the whole embedding.
        weights: Of each width, ≥ 0; None: 1 each.
        normalize: Whether the first coordinates are brought to length one before they are compared, for losses that
            don't do so themselves, if the embedding is searched by `cosine`.

    Raises:
        UserError: Widths do not ascend or do not end with the embedding's, the number of weights or losses differs from
            that of the widths, there is a memory inside, or a weight cannot be cut.

    Source: Kusupati et al., "Matryoshka Representation Learning" (2022).

    Example:
        >>> import torch
        >>> from dml.losses import PullLoss
        >>> loss = MatryoshkaLoss(PullLoss(), dims=[1, 2])
        >>> loss(torch.tensor([[0.0, 0.0], [2.0, 1.0]]), torch.tensor([0, 0]))  # 4 + 5
        tensor(9.)
    """

    def __init__(
        self,
        loss: nn.Module | list[nn.Module],
        dims: list[int],
        weights: list[float] | None = None,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        check_widths("dims", dims, empty=False)
        if sorted(set(dims)) != list(dims):
            raise UserError(f"dims={dims}: give widths in ascending order, each once, the whole embedding last")
        for weight in weights or ():
            check_number("weights", weight, least=0)
        _check_count("weights", weights, dims)
        _check_count("loss", loss if isinstance(loss, list) else None, dims)
        copies = loss if isinstance(loss, list) else [_cut_copy(loss, dim, dims[-1]) for dim in dims]
        for each in copies:
            _check_inside(each)
        self.losses = nn.ModuleList(copies)
        self.dims = list(dims)
        self.weights = [1.0] * len(dims) if weights is None else list(weights)
        self.normalize = normalize

    @property
    def num_classes(self) -> int | None:
        """For how many classes there are proxies; None if the loss has none."""
        counts = [
            count for loss in self.losses if isinstance(count := getattr(loss, "num_classes", None), int) and count
        ]
        return min(counts, default=None)

    @property
    def takes_tuples(self) -> bool:
        """Whether the losses take the tuples of a miner."""
        return all(takes_tuples(loss) for loss in self.losses)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: tuple[Tensor, ...] | None = None,
        num_anchors: int | None = None,
    ) -> Tensor:
        """Return the scalar loss of embeddings (B,D) with labels (B,).

        Args:
            embeddings: (B,D), D the last of `dims`.
            labels: (B,).
            indices_tuple: Of a miner of pytorch-metric-learning.
            num_anchors: Only the first so many are anchors, all are partners; None: all are both.
        """
        if embeddings.shape[1] != self.dims[-1]:
            size = embeddings.shape[1]
            raise UserError(f"embeddings of size {size} and dims={self.dims}: let the last of dims be the embedding's")
        total = embeddings.new_zeros(())
        for loss, dim, weight in zip(self.losses, self.dims, self.weights, strict=True):
            part = embeddings[:, :dim]
            part = nn.functional.normalize(part) if self.normalize else part
            total = total + weight * _loss_of(loss, part, labels, indices_tuple, num_anchors)
        return total


def _loss_of(
    loss: nn.Module, part: Tensor, labels: Tensor, tuples: tuple[Tensor, ...] | None, num_anchors: int | None
) -> Tensor:
    if num_anchors is not None:
        return loss_against(loss, part, labels, num_anchors)
    value: Tensor = loss(part, labels) if tuples is None else loss(part, labels, tuples)
    return value


def _check_count(name: str, given: Sequence[object] | None, dims: Sequence[int]) -> None:
    if given is not None and len(given) != len(dims):
        raise UserError(f"{len(given)} in {name} for {len(dims)} in dims: give one for each width")


def _check_inside(loss: nn.Module) -> None:
    for module in loss.modules():
        if isinstance(module, CrossBatchMemory) or hasattr(module, "add_to_memory"):
            raise UserError(
                "loss: a memory belongs outside of MatryoshkaLoss: dml.losses.CrossBatchMemory with it as its loss"
            )


def _cut_copy(loss: nn.Module, dim: int, full: int) -> nn.Module:
    """Return a copy whose weights and buffers keep the first `dim` coordinates of each embedding-long axis."""
    _check_inside(loss)
    cut = copy.deepcopy(loss)
    for name, module in cut.named_modules():
        for key, weight in module.named_parameters(recurse=False):
            part = _first(weight.data, dim, full, f"{name}.{key}".lstrip("."), loss)
            setattr(module, key, nn.Parameter(part, requires_grad=weight.requires_grad))
        for key, buffer in module.named_buffers(recurse=False):
            setattr(module, key, _first(buffer, dim, full, f"{name}.{key}".lstrip("."), loss))
        if isinstance(getattr(module, "embedding_size", None), int):
            module.embedding_size = dim
    return cut


def _first(weight: Tensor, dim: int, full: int, name: str, loss: nn.Module) -> Tensor:
    told = f"loss: {name} of {type(loss).__name__} has shape {tuple(weight.shape)}"
    axes = [axis for axis, size in enumerate(weight.shape) if size == full]
    if len(axes) > 1:
        raise UserError(
            f"{told}, which does not show the embedding's axis: give a list of losses, one for each of dims"
        )
    if weight.ndim > 1 and not axes:
        raise UserError(f"{told}, no axis as long as the last of dims, {full}: build it for embeddings of that size")
    return weight.narrow(axes[0], 0, dim).clone() if axes and weight.ndim > 1 else weight.clone()
