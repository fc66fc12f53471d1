"""An encoder of several that are trained side by side: an ensemble in one space."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from dml.encoders.base import Encoder
from dml.errors import UserError


@final
class EnsembleEncoder(Encoder):
    """Embed an image as the mean of several encoders' embeddings. In training each of them embeds a share of the batch.

    embedding = 1/N · Σ memberₙ(image), brought to length one if the members' own embeddings are. In training the rows
    of a batch are dealt out at random, as evenly as they can be, and each is embedded by its member alone (a batch of
    fewer than two images for each: by all). One loss, with one table of proxies or one head, sees them all, so that
    members learn to map a class to one place; there their mean lies too, though each errs in its own way. An epoch
    costs what it costs with one member, of which each then sees 1/N; whatever embeds images after training costs N
    times as much.

    Args:
        members: Two or more encoders with embeddings of one size, all of length one or none.

    Raises:
        UserError: There are fewer than two, or their embeddings differ in size or length.

    Source: Hansen, Salamon, "Neural Network Ensembles", 1990.

    Example:
        >>> from dml.encoders import FlattenEncoder
        >>> members = [FlattenEncoder(), FlattenEncoder()]
        >>> EnsembleEncoder(members).eval()(torch.ones(1, 1, 1, 3))
        tensor([[1., 1., 1.]])
    """

    def __init__(self, members: Sequence[Encoder]) -> None:
        if len(members) < 2:
            raise UserError(f"{len(members)} member: an ensemble has at least two")
        if len({member.normalize for member in members}) > 1:
            raise UserError("set normalize alike for all members of an ensemble: their embeddings are averaged")
        super().__init__(members[0].normalize)
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings (B,D) of images (B,C,H,W)."""
        count = len(self.members)
        if self.training and len(images) >= 2 * count:
            dealt = torch.randperm(len(images), device=images.device)
            shares = zip(self.members, dealt.tensor_split(count), strict=True)
            return torch.cat([member(images[share]) for member, share in shares])[dealt.argsort()]
        embeddings = [member(images) for member in self.members]
        if len(sizes := {rows.shape[1] for rows in embeddings}) > 1:
            raise UserError(f"members' embeddings have {sorted(sizes)} numbers: an ensemble averages those of one size")
        return self.finish_mean(embeddings)
