"""Augmentation of a whole batch at once, on the device, out of place.

The parameters of a row follow from the generator that is handed in and from its position in the
batch; there is no loop over images and no value is read back from the device.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_AREA, MAX_AREA = 0.02, 0.4
MIN_ASPECT = 0.3
TRIES = 10


def crop_and_flip(pixels: Tensor, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Pad with zeros (black), cut the old size at a random place, mirror half of the rows.

    Args:
        pixels: uint8 `[B, H, W, C]`.
        pad: pixels added on each side; 0 cuts nothing.
        flip: whether each row is mirrored left to right with probability 1/2.
        generator: on the device of `pixels`.

    Returns:
        uint8 `[B, H, W, C]`; `pixels` itself where there is nothing to do.
    """
    if pad == 0 and not flip:
        return pixels
    batch, height, width, channels = pixels.shape
    chance = torch.rand(batch, 3, generator=generator, device=pixels.device)
    shift = (chance[:, :2] * (2 * pad + 1)).int()
    padded = F.pad(pixels, (0, 0, pad, pad, pad, pad)) if pad else pixels
    across = torch.arange(width, dtype=torch.int32, device=pixels.device)
    if flip:
        across = torch.where(chance[:, 2:] < 0.5, across.flip(0), across)
    columns = shift[:, 1:] + across
    rows = shift[:, :1] + torch.arange(height, dtype=torch.int32, device=pixels.device)
    rows = rows + _starts(batch, height + 2 * pad, pixels.device)
    places = rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]
    chosen = padded.view(-1, channels).index_select(0, places.view(-1))
    return chosen.view(batch, height, width, channels)


def _starts(batch: int, height: int, device: torch.device) -> Tensor:
    """First line of each image when all lines of a batch are numbered: `[B, 1]`."""
    return torch.arange(batch, dtype=torch.int32, device=device)[:, None] * height


def erasing_size(area: Tensor, aspect: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """Height and width of a rectangle to erase, and whether it is accepted.

    Rounded half to even; accepted where smaller than the image both ways (Zhong et al., "Random
    Erasing Data Augmentation", AAAI 2020, with the aspect drawn linearly as in the authors' code).

    Args:
        area: share of the image's area.
        aspect: height over width of the rectangle.
    """
    pixels = area * (height * width)
    tall, wide = torch.sqrt(pixels * aspect).round(), torch.sqrt(pixels / aspect).round()
    return tall.long(), wide.long(), (tall < height) & (wide < width)


def erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Set a random rectangle to 0, the mean of the data, in some of the rows.

    Args:
        images: normalised `[B, C, H, W]`.
        probability: of each row to lose a rectangle of 2 to 40 % of its area.
        generator: on the device of `images`.

    Returns:
        New images in channels_last layout; `images` itself where `probability` is 0. A row for
        which no rectangle fitted in ten tries (about one in 10^13) keeps all its pixels.
    """
    if probability == 0:
        return images
    batch, channels, height, width = images.shape
    chance = torch.rand(
        batch, 3 + 2 * TRIES, generator=generator, device=images.device, dtype=torch.float64
    )
    area = MIN_AREA + chance[:, 3 : 3 + TRIES] * (MAX_AREA - MIN_AREA)
    aspect = MIN_ASPECT + chance[:, 3 + TRIES :] * (1 / MIN_ASPECT - MIN_ASPECT)
    tall, wide, accepted = erasing_size(area, aspect, height, width)
    first = accepted.int().argmax(1, keepdim=True)
    erased = (chance[:, :1] < probability) & accepted.gather(1, first)
    down = erased & _span(chance[:, 1:2], tall.gather(1, first), height)
    right = _span(chance[:, 2:3], wide.gather(1, first), width)
    right = right.repeat_interleave(channels, dim=1)
    keep = 1 - down.float()[:, :, None] * right.float()[:, None, :]
    lines = images.permute(0, 2, 3, 1).reshape(keep.shape) * keep
    return lines.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _span(chance: Tensor, length: Tensor, side: int) -> Tensor:
    """Bool `[B, side]`: `length` positions from a start that `chance` `[B, 1]` chooses evenly."""
    start = (chance * (side - length + 1)).long()
    position = torch.arange(side, device=chance.device)
    return (position >= start) & (position < start + length)


class Normalise:
    """uint8 `[B, H, W, C]` to normalised float32 `[B, C, H, W]` in channels_last layout.

    Args:
        mean, std: per channel on a scale of 0 to 1.
        shape: `(H, W)` of the images; scale and offset are laid out per pixel, because
            broadcasting over three channels is eight times as slow on a processor.
    """

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        shape: tuple[int, int],
        device: torch.device,
    ) -> None:
        scale = [1 / (255 * s) for s in std]
        offset = [-m / s for m, s in zip(mean, std, strict=True)]
        pixels = math.prod(shape)
        self._scale = torch.tensor(scale, device=device).repeat(pixels)
        self._offset = torch.tensor(offset, device=device).repeat(pixels)

    def __call__(self, pixels: Tensor) -> Tensor:
        values = pixels.flatten(1).float().mul_(self._scale).add_(self._offset)
        return values.view(pixels.shape).permute(0, 3, 1, 2)
