"""The branch of students that have no blocks to copy: light depthwise-separable stages."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from autosd.models.blocks import SeparableBlock, initialise


@dataclass(frozen=True)
class MapShape:
    """A tap's map: channels and side lengths."""

    channels: int
    height: int
    width: int


def light_branch(shapes: Sequence[MapShape], blocks: Sequence[int]) -> nn.Sequential:
    """Separable stages from the map `shapes[0]` through each later one to the last.

    Args:
        shapes: the tap's map and those of all later taps.
        blocks: number of blocks for each later tap, one less than `shapes`.
    """
    stages = [
        _stage(before, after, count)
        for before, after, count in zip(shapes[:-1], shapes[1:], blocks, strict=True)
    ]
    branch = nn.Sequential(*stages)
    initialise(branch)
    return branch


def _stage(before: MapShape, after: MapShape, blocks: int) -> nn.Sequential:
    """Where no stride gives the next side, the map is averaged to that side first."""
    stride = max(1, round(before.height / after.height))
    fits = (-(-before.height // stride), -(-before.width // stride)) == (after.height, after.width)
    resize = [] if fits else [nn.AdaptiveAvgPool2d((after.height, after.width))]
    first = SeparableBlock(before.channels, after.channels, stride if fits else 1)
    rest = [SeparableBlock(after.channels, after.channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(*resize, first, *rest)
