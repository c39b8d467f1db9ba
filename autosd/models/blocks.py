"""Building blocks of the small-image families, and how their weights start.

All convolutions are without bias (a norm follows or precedes), in-place activations only work
on tensors that no backward pass reads.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F


def convolution(
    channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution that keeps the side at stride 1 and gives `ceil(side / stride)` otherwise."""
    return nn.Conv2d(
        channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
    )


def conv_norm_act(
    channels_in: int,
    channels_out: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch norm and (unless None) an in-place activation."""
    layers: list[nn.Module] = [
        convolution(channels_in, channels_out, kernel, stride, groups),
        nn.BatchNorm2d(channels_out),
    ]
    if activation is not None:
        layers.append(activation(inplace=True))
    return nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016); 1x1 where shapes differ."""

    expansion = 1
    preactivated = False

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels_in, width, stride=stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = _projection(channels_in, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(features)), inplace=True)
        out = self.norm2(self.conv2(out))
        out += self.shortcut(features)
        return F.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with four times the width at its end (He et al., CVPR 2016)."""

    expansion = 4
    preactivated = False

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels_in, width, 1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, stride=stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, width * self.expansion, 1)
        self.norm3 = nn.BatchNorm2d(width * self.expansion)
        self.shortcut = _projection(channels_in, width * self.expansion, stride)

    def forward(self, features: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(features)), inplace=True)
        out = F.relu(self.norm2(self.conv2(out)), inplace=True)
        out = self.norm3(self.conv3(out))
        out += self.shortcut(features)
        return F.relu(out, inplace=True)


class PreActBlock(nn.Module):
    """Norm and ReLU before each 3x3 convolution (He et al., ECCV 2016; also the block of WRN).

    Where shapes differ, the shortcut is a 1x1 convolution of the activated input.
    """

    expansion = 1
    preactivated = True

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = convolution(channels_in, width, stride=stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width)
        same = stride == 1 and channels_in == width
        self.shortcut = None if same else convolution(channels_in, width, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        out = F.relu(self.norm1(features), inplace=True)
        shortcut = features if self.shortcut is None else self.shortcut(out)
        out = F.relu(self.norm2(self.conv1(out)), inplace=True)
        result: Tensor = self.conv2(out)
        result += shortcut
        return result


class SeparableBlock(nn.Module):
    """Depthwise 3x3, norm, ReLU, 1x1, norm, ReLU: the light stand-in for a foreign block."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = conv_norm_act(channels_in, channels_in, stride=stride, groups=channels_in)
        self.pointwise = conv_norm_act(channels_in, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.depthwise(features))
        return out


def _projection(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return conv_norm_act(channels_in, channels_out, 1, stride, activation=None)


def initialise(module: nn.Module) -> None:
    """Kaiming normal (fan out, ReLU) for every convolution below `module`.

    Norms start at 1 and 0 and linear layers at PyTorch's default: what their constructors do.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_out))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
