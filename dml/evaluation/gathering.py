"""Brings the samples of all processes together, each once, in the order of their ids; it knows nothing of scores."""

from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import ArrayLike
from torch import Tensor

from dml.errors import UserError
from dml.evaluation.samples import Samples, as_array, check_samples


def gather_samples(
    embeddings: ArrayLike | Tensor, labels: ArrayLike | Tensor, ids: ArrayLike | Tensor, group: dist.ProcessGroup
) -> Samples:
    """Return the samples of all processes of a group, the same on each of them; padding (an id seen before) is dropped.

    Args:
        embeddings: This process's embeddings (n,D); n may differ between processes and may be 0.
        labels: Whole numbers (n,).
        ids: Whole numbers (n,) that name the samples across all processes.
        group: The processes.

    Raises:
        UserError: Embeddings of different length, or what `check_samples` refuses, on any process.
    """
    mine = [as_array(values) for values in (embeddings, labels, ids)]
    parts: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(parts, mine, group=group)
    parts = [part for part in parts if len(part[1])]
    if len({part[0].shape[1:] for part in parts}) > 1:
        raise UserError(f"processes give embeddings of shapes {sorted({part[0].shape for part in parts})}")
    rows, classes, names = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(names, kind="stable")
    return check_samples(rows[order], classes[order], names[order])
