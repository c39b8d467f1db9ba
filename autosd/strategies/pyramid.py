"""The refining teacher of FRSKD: a two-way feature pyramid on the maps of all stages.

Ji, Shin, Hwang, Park and Moon, CVPR 2021, where it is called BiFPNc: unlike in a detector's
pyramid, each level keeps a width of its own, twice that of its stage. Maps of any size are
enlarged and shrunk to the next one's, where the authors' code doubles and halves.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.models.blocks import conv_norm_act, convolution, initialise
from autosd.models.pooling import pool

WIDTH = 2


class Fusion(nn.Module):
    """Weighted mean of maps of one shape, then two depthwise-separable convolutions.

    Weights are learnt, never negative, and sum to 1.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs))
        self.layers = nn.Sequential(
            *_separable(channels), nn.ReLU(inplace=True), *_separable(channels)
        )

    def forward(self, *maps: Tensor) -> Tensor:
        weights = self.weights.relu()
        weights = weights / (weights.sum() + 1e-6)
        portions = (weight * features for weight, features in zip(weights, maps, strict=True))
        fused: Tensor = self.layers(reduce(torch.add, portions))
        return fused


class Pyramid(nn.Module):
    """Refined maps and logits from the maps of all stages.

    Args:
        channels: of each stage's map, shallow to deep.
        classes: number of logits K.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        widths = [WIDTH * count for count in channels]
        steps = list(pairwise(widths))
        self.lateral = nn.ModuleList(map(_project, channels, widths))
        self.lateral_again = nn.ModuleList(map(_project, channels[1:], widths[1:]))
        self.up = nn.ModuleList(_project(deep, shallow) for shallow, deep in steps)
        self.down = nn.ModuleList(_project(shallow, deep) for shallow, deep in steps)
        self.top_down = nn.ModuleList(Fusion(2, width) for width in widths[:-1])
        last = len(widths) - 1
        self.bottom_up = nn.ModuleList(
            Fusion(2 if level == last else 3, widths[level]) for level in range(1, last + 1)
        )
        self.classifier = nn.Linear(widths[-1], classes)
        initialise(self)

    def forward(self, *taps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits `[B, K]` and refined maps `[B, 2 C_i, H_i, W_i]`, none of them negative."""
        inputs = [tap.relu() for tap in taps]
        maps = self._bottom_up(inputs, self._top_down(inputs))
        refined = [features.relu() for features in maps]
        logits: Tensor = self.classifier(pool(refined[-1]))
        return logits, refined

    def _top_down(self, inputs: list[Tensor]) -> list[Tensor]:
        lateral = [project(own) for project, own in zip(self.lateral, inputs, strict=True)]
        maps = [lateral[-1]]
        for level in reversed(range(len(self.top_down))):
            enlarged = F.interpolate(maps[0], size=lateral[level].shape[2:])
            maps.insert(0, self.top_down[level](lateral[level], self.up[level](enlarged)))
        return maps

    def _bottom_up(self, inputs: list[Tensor], passed: list[Tensor]) -> list[Tensor]:
        maps = [passed[0]]
        for level, fuse in enumerate(self.bottom_up, start=1):
            own = self.lateral_again[level - 1](inputs[level])
            shrunk = self.down[level - 1](shrink(maps[-1], own))
            middle = [passed[level].relu()] if level < len(self.bottom_up) else []
            maps.append(fuse(own, *middle, shrunk))
        return maps


def shrink(features: Tensor, like: Tensor) -> Tensor:
    """`features` max-pooled to the sides of `like`: 3x3 of stride 2 where that gives them."""
    here, there = features.shape[2:], like.shape[2:]
    if here == there:
        return features
    if all(-(-own // 2) == wanted for own, wanted in zip(here, there, strict=True)):
        return F.max_pool2d(features, 3, stride=2, padding=1)
    return F.adaptive_max_pool2d(features, there)


def _project(channels_in: int, channels_out: int) -> nn.Module:
    return conv_norm_act(channels_in, channels_out, 1)


def _separable(channels: int) -> list[nn.Module]:
    depthwise = convolution(channels, channels, groups=channels)
    return [depthwise, convolution(channels, channels, 1), nn.BatchNorm2d(channels)]
