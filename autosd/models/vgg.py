"""VGG at CIFAR scale: Simonyan and Zisserman, ICLR 2015.

In the form of the distillation literature: batch norm and one linear classifier.
"""

from torch import nn

from autosd.models.blocks import conv_norm_act
from autosd.models.staged import Architecture
from autosd.models.student import StageSpec


class Vgg(Architecture):
    """Five stages of 3x3 convolutions, 64 to 512 channels; max-pools before stages 2, 3 and 4.

    A block is a convolution with norm and ReLU. `convolutions` is their number in each stage.
    """

    stages = tuple(
        StageSpec(channels, reduction)
        for channels, reduction in ((64, 1), (128, 2), (256, 4), (512, 8), (512, 8))
    )
    embedding = 512

    def __init__(self, convolutions: int) -> None:
        self.blocks = (convolutions,) * len(self.stages)

    def stem(self, channels: int) -> nn.Module:
        """The first stage must know the image's channels, so its first block is the stem."""
        return conv_norm_act(channels, self.stages[0].channels)

    def stage(self, index: int, blocks: int) -> nn.Module:
        if index == 0:
            return nn.Sequential(*(conv_norm_act(64, 64) for _ in range(blocks - 1)))
        before, here = self.stages[index - 1], self.stages[index]
        layers: list[nn.Module] = []
        if here.reduction > before.reduction:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        for position in range(blocks):
            channels = here.channels if position else before.channels
            layers.append(conv_norm_act(channels, here.channels))
        return nn.Sequential(*layers)
