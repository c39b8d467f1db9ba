"""TrivialAugment of a whole batch at once, on the device, out of place.

Müller and Hutter, "TrivialAugment: Tuning-Free Yet State-of-the-Art Data Augmentation", ICCV 2021,
with its wide space: each image gets one of fourteen operations, all equally likely, at one of 31
strengths. It has no knob.

The rows of a batch are shuffled and cut into one group per operation, so an operation is a few
calls for all of its rows; which groups get the rows that do not divide evenly is drawn too, so
that each row has each operation with probability 1/14. Departure: an image is moved by at most its
own side, where the published 32 pixels would be more (32 is the side of the images they were
chosen for).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

GEOMETRY = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
BLENDS = ("brightness", "color", "contrast", "sharpness")
OPERATIONS = (
    *GEOMETRY,
    *BLENDS,
    "posterize",
    "solarize",
    "auto_contrast",
    "equalize",
    "identity",
)
LEVELS = 30
SHEAR, SHIFT, DEGREES, STRENGTH, BITS = 0.99, 32, 135.0, 0.99, 6
RED, GREEN, BLUE = 19595, 38470, 7471  # ITU-R 601-2 luma in units of 2^-16
COUNTS = 256


def trivial_augment(pixels: Tensor, generator: torch.Generator, on_host: torch.Generator) -> Tensor:
    """One random operation of a random strength for each row.

    Args:
        pixels: uint8 `[B, H, W, C]`.
        generator: on the device of `pixels`.
        on_host: on the processor, for what the host has to know.

    Returns:
        New uint8 `[B, H, W, C]`.
    """
    batch, device = len(pixels), pixels.device
    order = torch.randperm(batch, generator=generator, device=device)
    level = torch.randint(LEVELS + 1, (batch,), generator=generator, device=device)
    sign = torch.randint(2, (batch,), generator=generator, device=device) * 2 - 1
    changed = apply_groups(pixels.index_select(0, order), level, sign, group_sizes(batch, on_host))
    return changed.index_select(0, order.argsort())


def group_sizes(batch: int, on_host: torch.Generator) -> list[int]:
    """Rows for each operation: as equal as can be, the odd ones at operations drawn anew."""
    even, odd = divmod(batch, len(OPERATIONS))
    lucky = torch.randperm(len(OPERATIONS), generator=on_host)[:odd].tolist()
    return [even + (position in lucky) for position in range(len(OPERATIONS))]


def apply_groups(pixels: Tensor, level: Tensor, sign: Tensor, sizes: list[int]) -> Tensor:
    """The operations one after the other on `sizes` consecutive rows each.

    Args:
        pixels: uint8 `[B, H, W, C]`.
        level: `[B]` 0 to 30, how strong.
        sign: `[B]` 1 or -1, which way, for what has two.
        sizes: rows of each of `OPERATIONS`.
    """
    moved, blended = len(GEOMETRY), len(GEOMETRY) + len(BLENDS)
    blocks = [sum(sizes[:moved]), sum(sizes[moved:blended]), *sizes[blended:]]
    parts, levels = pixels.split(blocks), level.split(blocks)
    signed = (level * sign).split(blocks)
    return torch.cat(
        [
            warp(parts[0], matrices(signed[0], sizes[:moved], pixels.shape[1:3])),
            _blended(parts[1], signed[1], sizes[moved:blended]),
            posterize(parts[2], levels[2]),
            solarize(parts[3], levels[3]),
            auto_contrast(parts[4]),
            equalize(parts[5]),
            parts[6],
        ]
    )


def matrices(signed: Tensor, sizes: list[int], shape: torch.Size) -> Tensor:
    """Where each row's pixels come from, `[B, 2, 3]`: of columns and lines, in pixels.

    Shears turn about the upper left corner, rotations about the middle, as in Pillow.
    """
    height, width = shape
    strength = (signed / LEVELS).split(sizes)
    matrix = torch.eye(2, 3, device=signed.device).repeat(len(signed), 1, 1)
    along, across, right, down, turned = matrix.split(sizes)
    along[:, 0, 1] = SHEAR * strength[0]
    across[:, 1, 0] = SHEAR * strength[1]
    right[:, 0, 2] = (min(SHIFT, width) * strength[2]).trunc()
    down[:, 1, 2] = (min(SHIFT, height) * strength[3]).trunc()
    angle = math.radians(DEGREES) * strength[4]
    cos, sin = angle.cos(), angle.sin()
    turned[:, 0, 0], turned[:, 0, 1] = cos, -sin
    turned[:, 1, 0], turned[:, 1, 1] = sin, cos
    turned[:, 0, 2] = (width - cos * width + sin * height) / 2
    turned[:, 1, 2] = (height - sin * width - cos * height) / 2
    return matrix


def warp(pixels: Tensor, matrix: Tensor) -> Tensor:
    """Each row's nearest pixels at the places its `matrix` `[B, 2, 3]` tells, black outside."""
    batch, height, width, channels = pixels.shape
    across = torch.arange(width, device=pixels.device) + 0.5
    down = torch.arange(height, device=pixels.device)[:, None] + 0.5
    factors = matrix[:, :, :, None, None].unbind(2)
    places = (factors[0] * across + factors[1] * down + factors[2]).floor().long()
    columns, lines = places.unbind(1)
    inside = (columns >= 0) & (columns < width) & (lines >= 0) & (lines < height)
    first = torch.arange(batch, device=pixels.device)[:, None, None] * (height * width)
    found = torch.where(inside, first + lines * width + columns, 0).view(-1)
    chosen = pixels.reshape(-1, channels).index_select(0, found)
    return chosen.view(pixels.shape) * inside[..., None]


def _blended(pixels: Tensor, signed: Tensor, sizes: list[int]) -> Tensor:
    """Brightness, colour, contrast and sharpness, each towards or away from something plainer."""
    dark, coloured, contrasted, sharp = pixels.split(sizes)
    plainer = [
        torch.zeros_like(dark),
        luminance(coloured).expand_as(coloured),
        mean_luminance(contrasted).expand_as(contrasted),
        smoothed(sharp),
    ]
    factor = 1 + STRENGTH * signed / LEVELS
    return blend(torch.cat(plainer), pixels, factor)


def blend(plainer: Tensor, pixels: Tensor, factor: Tensor) -> Tensor:
    """From `plainer` at a `factor` `[B]` of 0 through `pixels` at 1 to beyond, rounded down."""
    plain = plainer.float()
    mixed = plain + factor[:, None, None, None] * (pixels.float() - plain)
    return mixed.clamp_(0, 255).to(torch.uint8)


def luminance(pixels: Tensor) -> Tensor:
    """Grey `[B, H, W, 1]` of colour images; grey images as they are."""
    if pixels.shape[3] != 3:
        return pixels[..., :1]
    red, green, blue = pixels.int().unbind(3)
    grey = (RED * red + GREEN * green + BLUE * blue + 2**15) >> 16
    return grey.to(torch.uint8)[..., None]


def mean_luminance(pixels: Tensor) -> Tensor:
    """The mean grey `[B, 1, 1, 1]` of each image, rounded half up."""
    count = pixels.shape[1] * pixels.shape[2]
    total = luminance(pixels).long().sum((1, 2, 3), keepdim=True)
    return ((2 * total + count) // (2 * count)).to(torch.uint8)


def smoothed(pixels: Tensor) -> Tensor:
    """The mean of each pixel, weighing five, and its eight neighbours; the rim stays as it is."""
    values = pixels.int()
    lines = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    around = lines[:, :, :-2] + lines[:, :, 1:-1] + lines[:, :, 2:]
    inner = (2 * (around + 4 * values[:, 1:-1, 1:-1]) + 13) // 26
    result = pixels.clone()
    result[:, 1:-1, 1:-1] = inner.to(torch.uint8)
    return result


def posterize(pixels: Tensor, level: Tensor) -> Tensor:
    """Clear the lowest bits, up to six of the eight."""
    cleared = (level * BITS / LEVELS).round().to(torch.uint8)[:, None, None, None]
    return (pixels >> cleared) << cleared


def solarize(pixels: Tensor, level: Tensor) -> Tensor:
    """Invert what is at least as bright as a threshold from 255 down to 0."""
    threshold = 255 - level * (255 / LEVELS)
    return torch.where(pixels >= threshold[:, None, None, None], 255 - pixels, pixels)


def auto_contrast(pixels: Tensor) -> Tensor:
    """Stretch each channel to 0 to 255; a constant channel stays as it is."""
    low, high = (f(pixels, (1, 2), keepdim=True).int() for f in (torch.amin, torch.amax))
    span = (high - low).clamp(min=1)
    stretched = (pixels.int() - low) * 255 // span
    return torch.where(high > low, stretched.to(torch.uint8), pixels)


def equalize(pixels: Tensor) -> Tensor:
    """Make each channel's histogram as even as can be, by Pillow's integer rule."""
    batch, height, width, channels = pixels.shape
    values = pixels.permute(0, 3, 1, 2).reshape(batch * channels, height * width).long()
    counts = values.new_zeros(batch * channels, COUNTS)
    counts.scatter_add_(1, values, torch.ones_like(values))
    brightest = values.amax(1, keepdim=True)
    step = (height * width - counts.gather(1, brightest)) // 255
    below = F.pad(counts.cumsum(1)[:, :-1], (1, 0))
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    even = torch.where(step > 0, table.gather(1, values), values)
    return even.view(batch, channels, height, width).permute(0, 2, 3, 1).to(torch.uint8)
