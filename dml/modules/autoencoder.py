"""The LightningModule that learns without labels: an encoder, and a decoder that reconstructs the images."""

from typing import final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from dml.data import Batch, LabelledData
from dml.data.transforms.random import normals
from dml.decoders import Decoder
from dml.encoders import Encoder, materialize
from dml.errors import UserError
from dml.functional.distributed import share_weight
from dml.functional.reconstruction import (
    check_corruption,
    corrupt,
    normal_divergence,
    reconstruction_loss,
    sample_normal,
)
from dml.losses import GaussianLikelihoodLoss
from dml.modules.base import ImageShape, Interval, TrainableModule
from dml.modules.checks import fitting_loss
from dml.modules.embedding import unrounded


@final
class AutoencoderModule(TrainableModule):
    """Learn an encoder such that a decoder can reconstruct the image from its embedding, the code.

    The target is the pixels in 0..1, whatever data.mean and data.std make of them for the encoder, and after the
    transform. `val/mse` is their mean squared error per pixel, comparable with PCA's.

    - Denoising: the encoder sees corrupted images, the target is the clean one; only while training.
    - Variational: the embedding is the mean of a normal distribution, a linear layer on it gives the log-variance, and
      the decoder sees a draw from it; the loss is loss + beta·KL / (C·H·W). Where the loss is a likelihood, BCELoss (of
      pixels taken as probabilities) or `dml.losses.GaussianLikelihoodLoss`, beta = 1 makes it the negative evidence
      lower bound per pixel, and the bound itself is logged: `val/elbo` = −(C·H·W·loss + KL), in nats per image, from
      one draw per image that is the same in every pass. MSELoss at beta = 1 is the bound, less a constant, of
      pixels with σ² = ½, noise larger than their own spread: name σ instead. `val/loss` is what training minimises,
      divergence included; `val/mse`, scores and transfer use the mean: the encoder stays any encoder.

    Args:
        encoder: images (B,C,H,W) -> embeddings (B,D).
        decoder: embeddings (B,D) -> pixels (B,C,H,W), one of `dml.decoders`.
        loss: `loss(reconstructions, pixels) -> scalar`: torch.nn.MSELoss, BCELoss, L1Loss; None: MSELoss.
        noise_std: Denoising: standard deviation of the noise on the pixels in 0..1.
        masking: Denoising: share of the pixels blackened, in [0, 1).
        beta: Variational: weight of the divergence from N(0, I), ≥ 0; None: a plain autoencoder.
        optimizer: Builds the optimiser from parameters.
        lr_scheduler: Builds the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: Whether the schedule moves after every `epoch` or every `step`.
        compile: Compile the encoder with torch.compile when training starts.
        channels_last: Keep images and weights with the channels innermost: faster convolutions, above all under bf16.

    Raises:
        UserError: The loss takes logits, a number is out of range, or (when training starts) the decoder does not
            fit the data.

    Source: Kingma, Welling, "Auto-Encoding Variational Bayes", 2013; Higgins et al., "beta-VAE", 2017.

    Example:
        >>> import torch
        >>> from dml.decoders import MLPDecoder
        >>> from dml.encoders import MLPEncoder
        >>> module = AutoencoderModule(MLPEncoder(embedding_dim=2), MLPDecoder())
        >>> module.build((1, 8, 8))
        >>> module(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 1, 8, 8])
    """

    monitor = "val/mse"
    monitor_mode = "min"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        loss: nn.Module | None = None,
        noise_std: float = 0.0,
        masking: float = 0.0,
        beta: float | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Interval = "epoch",
        compile: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, lr_interval, compile, channels_last)
        _check(loss, beta)
        check_corruption(noise_std, masking)
        self.encoder = encoder
        self.decoder = decoder
        self.loss = nn.MSELoss() if loss is None else loss
        self.noise_std = noise_std
        self.masking = masking
        self.beta = beta
        self.log_variance: nn.Linear | None = None
        self.register_buffer("mean", torch.tensor([0.5]).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.5]).view(-1, 1, 1), persistent=False)

    def build_for(self, data: LabelledData) -> None:
        """Build both networks for the data's images.

        Raises:
            UserError: A transform shows images in other sizes than they are to be reconstructed in.
        """
        if any(shape != data.image_shape for shape in data.view_shapes):
            raise UserError("an autoencoder's images keep one size: choose a data.transform that does not resize them")
        self.build(data.image_shape, *data.scale)

    def build(self, image_shape: ImageShape, mean: float | list[float] = 0.5, std: float | list[float] = 0.5) -> None:
        """Fix all sizes.

        Args:
            image_shape: (C,H,W).
            mean: What was subtracted from pixels in 0..1, as data.mean.
            std: What they were divided by, as data.std.

        Raises:
            UserError: One of the networks cannot take such images.
        """
        if len(image_shape) != 3:
            raise UserError(f"an autoencoder needs images (C,H,W), and the data's samples have shape {image_shape}")
        for name, value in (("mean", mean), ("std", std)):
            setattr(self, name, torch.tensor(value, device=getattr(self, name).device).view(-1, 1, 1))
        self.decoder.build((image_shape[0], image_shape[1], image_shape[2]))
        (embedding_dim,) = materialize(self.encoder, image_shape)
        given = materialize(self.decoder, (embedding_dim,))
        if given != tuple(image_shape):
            raise UserError(
                f"{type(self.decoder).__name__} gives images of shape {given}, the data's are {image_shape}"
            )
        if self.beta is not None and self.log_variance is None:
            self.log_variance = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Return the reconstructions (B,C,H,W), pixels in 0..1, of normalised images (B,C,H,W)."""
        reconstructions: Tensor = self.decoder(self.encoder(images))
        return reconstructions

    def pixels(self, images: Tensor) -> Tensor:
        """Return the pixels (B,C,H,W) in 0..1 of normalised images (B,C,H,W)."""
        return images * self.std + self.mean

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        batch = batch if isinstance(batch, Batch) else self.numbered(batch)
        pixels = self.pixels(batch.images)
        seen = (corrupt(pixels, self.noise_std, self.masking) - self.mean) / self.std
        codes, divergence = self._draw(self.encoder(seen))
        reconstructions = self.decoder(codes)
        with fitting_loss(self.loss):
            loss = reconstruction_loss(self.loss, reconstructions, pixels)
        self.add_train_mean("mse", reconstruction_loss(nn.MSELoss(), reconstructions.detach(), pixels), len(pixels))
        if self.beta is not None:
            loss = loss + self.beta * divergence / pixels[0].numel()
        loss = loss * share_weight(len(pixels), loss.device)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(pixels), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; loss and error of queries are logged, those of references are not."""
        return self._evaluate(self.numbered(batch, dataloader_idx), dataloader_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B,D) of a batch; loss and error of queries are logged, those of references are not."""
        return self._evaluate(self.numbered(batch, dataloader_idx), dataloader_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the embeddings (B,D) of a batch."""
        embeddings: Tensor = self.encoder(self.numbered(batch).images)
        return embeddings

    def _draw(self, embeddings: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the codes (B,D) that the decoder sees, and their divergence in nats per image (0 if plain)."""
        if self.log_variance is None:
            return embeddings, embeddings.new_zeros(())
        means, log_variance = unrounded(embeddings), unrounded(self.log_variance(embeddings))
        return sample_normal(means, log_variance, noise), normal_divergence(means, log_variance)

    def _evaluate(self, batch: Batch, dataloader_idx: int) -> Tensor:
        embeddings: Tensor = self.encoder(batch.images)
        if dataloader_idx == 0:
            pixels, reconstructions = self.pixels(batch.images), self.decoder(embeddings)
            means = {"mse": reconstruction_loss(nn.MSELoss(), reconstructions, pixels)}
            if self.beta is None:
                means["loss"] = reconstruction_loss(self.loss, reconstructions, pixels)
            else:
                noise = normals(0, 0, batch.ids.to(embeddings.device), embeddings.shape[1])
                codes, divergence = self._draw(embeddings, noise)
                loss, size = reconstruction_loss(self.loss, self.decoder(codes), pixels), pixels[0].numel()
                means["loss"] = loss + self.beta * divergence / size
                if isinstance(self.loss, nn.BCELoss | GaussianLikelihoodLoss):
                    means["elbo"] = -(size * loss + divergence)
            self.add_query_means(batch, dataloader_idx, means)
        return embeddings


def _check(loss: nn.Module | None, beta: float | None) -> None:
    if isinstance(loss, nn.BCEWithLogitsLoss):
        raise UserError("the decoder gives pixels and BCEWithLogitsLoss takes logits: choose torch.nn.BCELoss")
    if beta is not None and beta < 0:
        raise UserError(f"beta={beta}: the weight of the divergence is at least 0 (none: a plain autoencoder)")
