"""MobileNetV2 and ShuffleNetV2 (width 1) at CIFAR scale: the first strides of the originals are 1.

Sources: Sandler et al., CVPR 2018; Ma et al., ECCV 2018. Both have a 1x1 convolution between the
last tap and the pooling, so their embedding is not the pooled last tap.
"""

import torch
from torch import Tensor, nn

from autosd.models.blocks import conv_norm_act
from autosd.models.staged import Architecture
from autosd.models.student import StageSpec


class InvertedResidual(nn.Module):
    """1x1 widening, depthwise 3x3, linear 1x1; the input is added where shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = channels_in * expand
        relu6 = nn.ReLU6
        widen = [conv_norm_act(channels_in, inner, 1, activation=relu6)] if expand > 1 else []
        self.layers = nn.Sequential(
            *widen,
            conv_norm_act(inner, inner, stride=stride, groups=inner, activation=relu6),
            conv_norm_act(inner, channels_out, 1, activation=None),
        )
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        if self.residual:
            out += features
        return out


class MobileNetV2(Architecture):
    """Seventeen inverted residuals in four stages; the embedding is 1280 wide.

    A branch with fewer blocks has the last widths of the stage.
    """

    widths = ((16, 24, 24), (32,) * 3, (64,) * 4 + (96,) * 3, (160,) * 3 + (320,))
    stages = tuple(StageSpec(group[-1], 2**index) for index, group in enumerate(widths))
    blocks = tuple(map(len, widths))
    embedding = 1280
    pooled_last_tap = False

    def stem(self, channels: int) -> nn.Module:
        return conv_norm_act(channels, 32, activation=nn.ReLU6)

    def stage(self, index: int, blocks: int) -> nn.Module:
        group = self.widths[index]
        widths = (group[-1],) * (blocks - len(group)) + group[-blocks:]
        channels = self.stages[index - 1].channels if index else 32
        layers: list[nn.Module] = []
        for position, width in enumerate(widths):
            first = position == 0
            stride = 2 if index and first else 1
            expand = 1 if index == 0 and first else 6
            layers.append(InvertedResidual(channels, width, stride, expand))
            channels = width
        return nn.Sequential(*layers)

    def neck(self) -> nn.Module:
        return conv_norm_act(self.stages[-1].channels, self.embedding, 1, activation=nn.ReLU6)


class ShuffleBlock(nn.Module):
    """Half of the channels pass, half are convolved, then both are interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.layers = _shuffle_path(half, half, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        kept, worked = features.chunk(2, dim=1)
        return interleave(kept, self.layers(worked))


class ShuffleDown(nn.Module):
    """Two strided paths over all channels, interleaved."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.left = nn.Sequential(
            conv_norm_act(channels_in, channels_in, stride=2, groups=channels_in, activation=None),
            conv_norm_act(channels_in, half, 1),
        )
        self.right = _shuffle_path(channels_in, half, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        return interleave(self.left(features), self.right(features))


def _shuffle_path(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_act(channels_in, channels_out, 1),
        conv_norm_act(
            channels_out, channels_out, stride=stride, groups=channels_out, activation=None
        ),
        conv_norm_act(channels_out, channels_out, 1),
    )


def interleave(left: Tensor, right: Tensor) -> Tensor:
    """Concatenation and channel shuffle of two groups: channels l0, r0, l1, r1, ...

    Stacked behind the channels, so that channels_last maps give a channels_last map in one copy.
    """
    pair = torch.stack((left.permute(0, 2, 3, 1), right.permute(0, 2, 3, 1)), dim=-1)
    return pair.flatten(3).permute(0, 3, 1, 2)


class ShuffleNetV2(Architecture):
    """Three stages of 116, 232 and 464 channels, each opened by a strided block."""

    stages = (StageSpec(116, 2), StageSpec(232, 4), StageSpec(464, 8))
    blocks = (4, 8, 4)
    embedding = 1024
    pooled_last_tap = False

    def stem(self, channels: int) -> nn.Module:
        return conv_norm_act(channels, 24)

    def stage(self, index: int, blocks: int) -> nn.Module:
        before = self.stages[index - 1].channels if index else 24
        here = self.stages[index].channels
        rest = [ShuffleBlock(here) for _ in range(blocks - 1)]
        return nn.Sequential(ShuffleDown(before, here), *rest)

    def neck(self) -> nn.Module:
        return conv_norm_act(self.stages[-1].channels, self.embedding, 1)
