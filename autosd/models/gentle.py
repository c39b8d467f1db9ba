"""A gentler start for foreign backbones on small images.

Backbones made for 224 pixels shrink an image by 4 before their first stage and by 32 in all; of
32 pixels one position would remain. For sides of at most 64 the first stride is halved and the
max-pool after it goes: 7x7/2 becomes 3x3/1, 3x3/2 becomes 3x3/1, patches of 4 become patches of 2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GENTLE_SIDE = 64


def is_small(image_shape: tuple[int, int, int]) -> bool:
    """Whether images of `(C, H, W)` get a gentle stem."""
    return max(image_shape[1:]) <= GENTLE_SIDE


def gentle_patch(patch: int, image_shape: tuple[int, int, int]) -> int:
    """The patch side of a transformer: a divisor of both sides that leaves 7 patches or more.

    Patches of a pyramid (4 or less) become 2 at most, others stay as large as possible.
    """
    height, width = image_shape[1:]
    most = min(patch, 2) if patch <= 4 else patch
    fitting = [
        side
        for side in range(1, most + 1)
        if height % side == width % side == 0 and min(height, width) // side >= 7
    ]
    return max(fitting, default=1)


@torch.no_grad()
def soften_stem(net: nn.Module, channels: int) -> None:
    """Halve the first stride of `net` and take out the max-pool behind it.

    Only where the image goes into one strided convolution, or several parallel ones, that are
    odd or patches of 4; other networks are left as they are.

    Args:
        net: a network for `[B, channels, H, W]` of any side.
        channels: of the image.
    """
    stems, shrinking = _trace(net, channels)
    if len({stem.stride for stem in stems}) != 1 or not all(map(_can_soften, stems)):
        return
    for stem in stems:
        _soften(stem)
    if shrinking and isinstance(shrinking[0], nn.MaxPool2d):
        _remove(net, shrinking[0])


def _trace(net: nn.Module, channels: int) -> tuple[list[nn.Conv2d], list[nn.Module]]:
    """Convolutions of the image, and the layers behind them that shrink a map, as executed."""
    images: list[Tensor] = []
    stems: list[nn.Conv2d] = []
    shrinking: list[nn.Module] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d) and (not images or inputs[0] is images[0]):
            images.append(inputs[0])
            stems.append(layer)
        elif images and output.shape[-1] < inputs[0].shape[-1]:
            shrinking.append(layer)

    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    layers = [layer for layer in net.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    net.eval()
    net(torch.zeros(1, channels, 2 * GENTLE_SIDE, 2 * GENTLE_SIDE))
    net.train()
    for hook in hooks:
        hook.remove()
    return stems, shrinking


def _can_soften(conv: nn.Conv2d) -> bool:
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    return (kernel % 2 == 1 and stride in (2, 4)) or kernel == stride == 4


def _soften(conv: nn.Conv2d) -> None:
    """Half the stride; patches shrink with it (weights averaged), others keep the 3x3 centre."""
    stride, kernel = conv.stride[0] // 2, conv.kernel_size[0]
    side = stride if kernel == conv.stride[0] else min(kernel, 3)
    conv.stride, conv.kernel_size = (stride, stride), (side, side)
    if conv.padding != "same" and any(conv.padding):
        conv.padding = (side // 2, side // 2)
    conv.weight = nn.Parameter(_cut(conv.weight, side))


def _cut(weight: Tensor, side: int) -> Tensor:
    kernel = weight.shape[-1]
    if kernel % 2 == 0:
        return F.avg_pool2d(weight, kernel // side)
    start = (kernel - side) // 2
    return weight[:, :, start : start + side, start : start + side].clone()


def _remove(net: nn.Module, layer: nn.Module) -> None:
    path = next(name for name, module in net.named_modules() if module is layer)
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, nn.Identity())
