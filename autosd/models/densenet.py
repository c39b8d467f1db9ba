"""DenseNet-40-12: Huang et al., "Densely connected convolutional networks", CVPR 2017."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.errors import AutosdError
from autosd.models.blocks import convolution
from autosd.models.staged import Architecture
from autosd.models.student import StageSpec


class DenseLayer(nn.Module):
    """Norm, ReLU, 3x3 convolution to `growth` channels, appended to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = convolution(channels, growth)

    def forward(self, features: Tensor) -> Tensor:
        new = self.conv(F.relu(self.norm(features), inplace=True))
        return torch.cat((features, new), dim=1)


class DenseNet(Architecture):
    """Three dense blocks without bottleneck or compression; a transition opens stages 2 and 3.

    A block, as branches count it, is a whole dense block: fewer layers would end in another width.
    """

    blocks = (1, 1, 1)

    def __init__(self, layers: int, growth: int) -> None:
        widths = [16 + layers * growth * (index + 1) for index in range(3)]
        self.stages = tuple(StageSpec(width, 2**index) for index, width in enumerate(widths))
        self.embedding = widths[-1]
        self.layers, self.growth = layers, growth

    def stem(self, channels: int) -> nn.Module:
        return convolution(channels, 16)

    def stage(self, index: int, blocks: int) -> nn.Module:
        if blocks != 1:
            raise AutosdError(
                f"a DenseNet branch has one dense block in each stage, {blocks} were asked for"
            )
        channels = self.stages[index - 1].channels if index else 16
        parts = _transition(channels) if index else []
        for _ in range(self.layers):
            parts.append(DenseLayer(channels, self.growth))
            channels += self.growth
        if index == len(self.blocks) - 1:
            parts += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        return nn.Sequential(*parts)


def _transition(channels: int) -> list[nn.Module]:
    return [
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        convolution(channels, channels, 1),
        nn.AvgPool2d(2, ceil_mode=True),
    ]
