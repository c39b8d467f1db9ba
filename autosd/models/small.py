"""Residual families for small images: CIFAR ResNet, WRN, pre-activation ResNet, ResNet.

All have a 3x3 stem of stride 1 and no max-pool, so an image of 8 pixels is still a map.
Sources: He et al., "Deep residual learning for image recognition", CVPR 2016, and "Identity
mappings in deep residual networks", ECCV 2016; Zagoruyko and Komodakis, "Wide residual networks",
BMVC 2016. Where the shape changes, shortcuts are 1x1 convolutions, as in the distillation
literature, not the zero padding (option A) of the first paper's CIFAR networks.
"""

import re
from collections.abc import Callable
from functools import partial

from torch import nn

from autosd.errors import AutosdError
from autosd.models.blocks import (
    BasicBlock,
    Bottleneck,
    PreActBlock,
    conv_norm_act,
    convolution,
)
from autosd.models.staged import Architecture
from autosd.models.student import StageSpec

CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110)
WRN = re.compile(r"wrn-(\d{1,4})-(\d{1,3})")


class ResNet(Architecture):
    """Stages of residual blocks; every stage but the first halves the side.

    Args:
        stem_width: channels after the stem.
        widths: width of each stage's blocks; its map has `block.expansion` times as many channels.
        blocks: number of blocks of each stage.
        block: the kind of block.
        final_norm: norm and ReLU at the end of the last stage (WRN).
    """

    def __init__(
        self,
        stem_width: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        block: type[BasicBlock | Bottleneck | PreActBlock] = BasicBlock,
        final_norm: bool = False,
    ) -> None:
        channels = [width * block.expansion for width in widths]
        self.stages = tuple(StageSpec(count, 2**index) for index, count in enumerate(channels))
        self.embedding = channels[-1]
        self.stem_width, self.widths, self.blocks = stem_width, widths, blocks
        self.block, self.final_norm = block, final_norm

    def stem(self, channels: int) -> nn.Module:
        make = convolution if self.block.preactivated else conv_norm_act
        return make(channels, self.stem_width)

    def stage(self, index: int, blocks: int) -> nn.Module:
        channels = self.stages[index - 1].channels if index else self.stem_width
        layers: list[nn.Module] = []
        for position in range(blocks):
            stride = 2 if index and position == 0 else 1
            layers.append(self.block(channels, self.widths[index], stride))
            channels = self.stages[index].channels
        if self.final_norm and index == len(self.widths) - 1:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)


def cifar_resnet(depth: int) -> ResNet:
    """ResNet-`depth` of 16, 32 and 64 channels; depth = 6n + 2."""
    return ResNet(16, (16, 32, 64), ((depth - 2) // 6,) * 3)


def wide_resnet(name: str) -> ResNet:
    """WRN-d-k from `wrn-d-k`: d = 6n + 4, widths 16k, 32k, 64k.

    Raises:
        AutosdError: there is no such depth or width.
    """
    match = WRN.fullmatch(name)
    depth, width = map(int, match.groups()) if match else (0, 0)
    if depth < 10 or (depth - 4) % 6 or not 1 <= width <= 100:
        raise AutosdError(
            f"no model named '{name}'; a WRN is wrn-d-k with d = 10, 16, 22, 28, 34, 40, ... "
            "(6n + 4) and k from 1 to 100, such as wrn-16-2"
        )
    widths = (16 * width, 32 * width, 64 * width)
    return ResNet(16, widths, ((depth - 4) // 6,) * 3, PreActBlock, final_norm=True)


def preact_resnet18() -> ResNet:
    """The CIFAR network of most self-distillation papers.

    No norm stands before the pooling: the embedding is signed.
    """
    return ResNet(64, (64, 128, 256, 512), (2, 2, 2, 2), PreActBlock)


def resnet(blocks: tuple[int, ...], block: type[BasicBlock | Bottleneck]) -> ResNet:
    """ResNet-18, 34 or 50 with a 3x3 stem."""
    return ResNet(64, (64, 128, 256, 512), blocks, block)


RESIDUAL: dict[str, Callable[[], Architecture]] = {
    **{f"resnet{depth}": partial(cifar_resnet, depth) for depth in CIFAR_DEPTHS},
    "preact_resnet18": preact_resnet18,
    "resnet18": partial(resnet, (2, 2, 2, 2), BasicBlock),
    "resnet34": partial(resnet, (3, 4, 6, 3), BasicBlock),
    "resnet50": partial(resnet, (3, 4, 6, 3), Bottleneck),
}
