"""Random changes to a batch of images, each sample its own, drawn by address."""

import math
from typing import final

import torch
from torch import Tensor

from dml.data.transforms.base import AddressedTransform
from dml.data.transforms.color import adjust, blur
from dml.data.transforms.geometry import (
    Border,
    bend,
    box_matrix,
    cut_sizes,
    mirror,
    rectangle_mask,
    resample,
    square_mask,
    turn_matrix,
    window,
)
from dml.data.transforms.random import uniforms
from dml.errors import UserError
from dml.ranges import check_number

KNOTS = 4  # along each side, of the grid by which `elastic` bends the frame
DRAWS = 26 + 2 * KNOTS**2  # for each sample; every step has its own places: switching one off leaves the others' noise


@final
class Augmentation(AddressedTransform):
    """Batched augmentation on the device of the images; every sample draws its own noise from (seed, epoch, position).

    All moves of the frame are composed into one resampling (crop with padding and mirroring alone resample nothing),
    all colour changes into one matrix. Order: geometry, colour, blur, cut-out, erasing. Zero switches a step off.

    Args:
        crop_padding: pixels; the frame moves by up to this many whole pixels, both ways, along both axes.
        resized_crop: smallest share (0..1) of the area that is cut out and blown up to the frame; the aspect ratio of
            the cut varies within 3/4..4/3, so it is squeezed by as much.
        flip: probability (0..1) of a left-right mirror image.
        alternate_flip: every image is mirrored in every second epoch, half of them in the even ones, in place of
            `flip`: each pair of epochs shows both.
        vertical_flip: probability (0..1) of an upside-down image.
        rotate: degrees; turns by up to this many, both ways.
        scale: zooms by a factor within 1/(1+scale)..1+scale.
        translate: share of the frame's sides; shifts by up to this much, both ways.
        shear: degrees; leans sideways by up to this many, both ways.
        brightness: within 0..1; factor within 1-brightness..1+brightness.
        contrast: likewise, about the image's mean grey.
        saturation: likewise, about the grey picture; without effect on one channel.
        hue: share of the colour circle (0..0.5), turned by up to this much, both ways; without effect on one channel.
        blur: pixels; standard deviation of a Gaussian drawn within 0..blur.
        erase: probability (0..1) that a rectangle becomes mid-grey (127.5).
        erase_area: largest share (0.02..1) of the area of that rectangle; its aspect ratio lies within 0.3..3.3.
        cutout: pixels; side of a mid-grey square around a random pixel, cut off at the frame: in every image.
        elastic: pixels; each of 4×4 points spread over the frame moves by up to this many, both ways, along both axes,
            and what lies between moves along a smooth (bicubic) surface.
        border: what lies outside the frame: `black`, or with `reflect` the image mirrored at its edge, as ink on white
            paper needs.

    Raises:
        UserError: a number is out of its range, or both `flip` and `alternate_flip` are given.

    Source: DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017; Jordan, "94%
    on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, on alternating flips; Simard, Steinkraus, Platt, "Best Practices
    for Convolutional Neural Networks Applied to Visual Document Analysis", 2003, on elastic bending.

    Example:
        >>> images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
        >>> augment = Augmentation(crop_padding=1, flip=0.5, brightness=0.2)
        >>> whole = augment(images, seed=0, epoch=0, positions=torch.arange(4))
        >>> torch.equal(whole[2:], augment(images[2:], seed=0, epoch=0, positions=torch.tensor([2, 3])))
        True
    """

    def __init__(
        self,
        crop_padding: int = 0,
        resized_crop: float = 0.0,
        flip: float = 0.0,
        vertical_flip: float = 0.0,
        rotate: float = 0.0,
        scale: float = 0.0,
        translate: float = 0.0,
        shear: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        blur: float = 0.0,
        erase: float = 0.0,
        erase_area: float = 0.33,
        border: Border = "black",
        alternate_flip: bool = False,
        cutout: int = 0,
        elastic: float = 0.0,
    ) -> None:
        super().__init__()
        shares = {"resized_crop": resized_crop, "flip": flip, "vertical_flip": vertical_flip, "translate": translate}
        shares |= {"brightness": brightness, "contrast": contrast, "saturation": saturation, "erase": erase}
        for name, share in shares.items():
            check_number(name, share, least=0, most=1)
        amounts = {"crop_padding": crop_padding, "scale": scale, "blur": blur, "cutout": cutout, "elastic": elastic}
        for name, amount in amounts.items():
            check_number(name, amount, least=0, most=1000)
        check_number("rotate", rotate, least=0, most=360)
        check_number("shear", shear, least=0, below=90)
        check_number("hue", hue, least=0, most=0.5)
        check_number("erase_area", erase_area, least=0.02, most=1)
        if flip and alternate_flip:
            raise UserError(f"flip={flip} and alternate_flip both mirror images: leave one of them out")
        self.crop_padding = crop_padding
        self.resized_crop = resized_crop
        self.flip = flip
        self.vertical_flip = vertical_flip
        self.rotate = rotate
        self.scale = scale
        self.translate = translate
        self.shear = shear
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.blur = blur
        self.erase = erase
        self.erase_area = erase_area
        self.border: Border = border
        self.alternate_flip = alternate_flip
        self.cutout = cutout
        self.elastic = elastic
        self.takes_ids = alternate_flip

    def forward(self, images: Tensor, seed: int, epoch: int, positions: Tensor, ids: Tensor | None = None) -> Tensor:
        """Augment one batch.

        Args:
            images: uint8 or float (B, C, H, W), values within 0..255.
            seed: any whole number.
            epoch: epoch number.
            positions: int64 (B,), each sample's address within the epoch, on the device of `images`.
            ids: int64 (B,), which sample it is, the same in every epoch; None: its position. `alternate_flip` asks.

        Returns:
            float32 (B, C, H, W) within 0..255; equal for equal addresses, however the batch is cut.
        """
        draws = uniforms(seed, epoch, positions, DRAWS)
        if self.alternate_flip:
            first = uniforms(seed, 0, positions if ids is None else ids, 1)[:, 0] < 0.5
            draws[:, 0] = torch.where(first ^ bool(epoch % 2), -1.0, 1.0)  # below any probability, or above
        pixels = self._move(images.float(), draws)
        if self.brightness or self.contrast or self.saturation or self.hue:
            pixels = self._colour(pixels, draws)
        if self.blur:
            pixels = blur(pixels, self.blur * draws[:, 15], radius=max(1, math.ceil(2.5 * self.blur)))
        if self.cutout:
            mask = square_mask(draws[:, 24:26], self.cutout, pixels.shape[2], pixels.shape[3])
            pixels = pixels.masked_fill(mask, 127.5)
        return self._erase(pixels, draws) if self.erase else pixels

    def _move(self, images: Tensor, draws: Tensor) -> Tensor:
        across, down = draws[:, 0] < self.flip, draws[:, 1] < self.vertical_flip
        shift = torch.floor(draws[:, 2:4] * (2 * self.crop_padding + 1)).long()  # (B, 2)
        warps = self.rotate or self.scale or self.translate or self.shear or self.resized_crop or self.elastic
        if not warps:
            if self.crop_padding:
                images = window(images, self.crop_padding, shift[:, 1], shift[:, 0], self.border)
            return mirror(images, across, down)
        sides = torch.tensor([images.shape[3], images.shape[2]], device=images.device)
        center = 2 * (shift - self.crop_padding) / sides
        half = torch.stack([1 - 2.0 * across, 1 - 2.0 * down], dim=1)
        matrix = self._turn(draws, images.shape[2], images.shape[3]) @ self._cut(draws) @ box_matrix(center, half)
        if not self.elastic:
            return resample(images, matrix, self.border)
        moves = self.elastic * (2 * draws[:, 26:] - 1).view(-1, 2, KNOTS, KNOTS)
        return resample(images, matrix, self.border, bend(moves, images.shape[2], images.shape[3]))

    def _turn(self, draws: Tensor, height: int, width: int) -> Tensor:
        both = 2 * draws - 1  # within -1..1
        zoom = torch.exp(both[:, 5] * math.log1p(self.scale))
        return turn_matrix(
            self.rotate * both[:, 4], zoom, self.shear * both[:, 6], self.translate * both[:, 7:9], height, width
        )

    def _cut(self, draws: Tensor) -> Tensor:
        if not self.resized_crop:
            return torch.eye(3, device=draws.device)
        share = self.resized_crop + (1 - self.resized_crop) * draws[:, 20]
        half = cut_sizes(share, (2 * draws[:, 21] - 1) * math.log(4 / 3))
        return box_matrix((2 * draws[:, 22:24] - 1) * (1 - half), half)

    def _colour(self, images: Tensor, draws: Tensor) -> Tensor:
        both = 2 * draws[:, 9:13] - 1
        brightness, contrast, saturation = (1 + both[:, :3] * both.new_tensor(self._factors())).unbind(1)
        return adjust(images, brightness, contrast, saturation, self.hue * both[:, 3]).clamp_(0, 255)

    def _factors(self) -> tuple[float, float, float]:
        return self.brightness, self.contrast, self.saturation

    def _erase(self, images: Tensor, draws: Tensor) -> Tensor:
        area = 0.02 + (self.erase_area - 0.02) * draws[:, 16]
        log_ratio = (2 * draws[:, 17] - 1) * math.log(3.3)
        hit = (draws[:, 13] < self.erase)[:, None, None, None]
        mask = hit & rectangle_mask(area, log_ratio, draws[:, 18:20], images.shape[2], images.shape[3])
        return images.masked_fill(mask, 127.5)
