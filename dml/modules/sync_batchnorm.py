"""BatchNorm over the batch of all processes, on the CPU too, where torch has none."""

from typing import final

import torch
from lightning.pytorch.plugins import LayerSync, TorchSyncBatchNorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dml.functional.distributed import sum_with_gradient


@final
class SyncedBatchNorm(_BatchNorm):
    """Normalise channels by the mean and the biased variance of the images of all processes while training.

    y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias over all but the channel dimension; the running variance is the
    unbiased one, as in `torch.nn.BatchNorm2d`, which it equals outside a process group and in evaluation mode.

    Raises:
        ValueError: One value per channel in all processes together.

    Source:
        Ioffe and Szegedy, "Batch Normalization" (2015).

    Example:
        >>> images = torch.tensor([[[[1.0]]], [[[3.0]]]])
        >>> SyncedBatchNorm(1)(images).flatten()
        tensor([-1.0000,  1.0000], grad_fn=<...>)
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"at least 2 dimensions are needed, got {input.ndim}")

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised images, of any shape (B,C,...)."""
        self._check_input_dim(input)
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        values = input.double() if input.dtype is torch.float64 else input.float()
        others = [0, *range(2, input.ndim)]
        shape = [1, -1] + [1] * (input.ndim - 2)
        own = values.new_tensor([values.numel() / values.shape[1]])
        count = float(sum_with_gradient(own))
        if count <= 1:
            raise ValueError(f"one value per channel to train on: {tuple(input.shape)}")
        mean = sum_with_gradient(values.sum(others)) / count
        centred = values - mean.view(shape)
        variance = sum_with_gradient(centred.square().sum(others)) / count
        self._move(mean.detach(), variance.detach() * (count / (count - 1)))
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)

    @torch.no_grad()
    def _move(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        step = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, step)
        self.running_var.lerp_(variance, step)


def synced(module: nn.Module) -> nn.Module:
    """Return a network with every BatchNorm replaced by a `SyncedBatchNorm` that has its parameters and buffers.

    Example:
        >>> synced(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))[1]
        SyncedBatchNorm(3, eps=1e-05, ...)
    """
    if isinstance(module, _BatchNorm):
        other = SyncedBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        )
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(other, name, getattr(module, name))
        return other.train(module.training)
    for name, child in module.named_children():
        setattr(module, name, synced(child))
    return module


@final
class SyncBatchNorm(LayerSync):
    """Lightning's plugin for `trainer.sync_batchnorm`, on every device.

    Example:
        >>> SyncBatchNorm().apply(nn.BatchNorm1d(3))
        SyncedBatchNorm(3, eps=1e-05, ...)
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace every BatchNorm, by torch's own kind if that works."""
        if any(tensor.device.type == "cuda" for tensor in model.parameters()):
            return TorchSyncBatchNorm().apply(model)
        return synced(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave the network as it is: Lightning calls this after training, and its weights are saved."""
        return model
