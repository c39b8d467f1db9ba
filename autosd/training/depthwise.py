"""Convolutions for which bfloat16 is the wrong choice on a processor.

oneDNN has no fast bfloat16 kernels for the gradients of depthwise convolutions with a stride or a
kernel above 3x3. Measured (64 images of 12x12, 72 channels, 3x3, stride 2, milliseconds of forward,
input gradient, weight gradient): 0.3, 0.4, 0.2 in float32, 0.1, 25.7, 0.7 in bfloat16. These
layers, of no weight in arithmetic, decided the speed of MobileNets and of light branches.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def exempt_from_autocast(modules: Iterable[nn.Module]) -> None:
    """Make every slow depthwise convolution below `modules` work in float32 under autocast.

    Names, weights and what the network computes stay the same; a copy has the exemption too.
    """
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d) and _slow(layer) and not isinstance(layer, _Float32):
                layer.__class__ = _exempted(type(layer))


def _slow(layer: nn.Conv2d) -> bool:
    depthwise = layer.groups == layer.in_channels > 1
    return depthwise and (max(layer.stride) > 1 or max(layer.kernel_size) > 3)


class _Float32:
    """Mixed into a convolution: float32 inside, the caller's type outside."""

    def forward(self, features: Tensor) -> Tensor:
        inherited: Any = super()
        device = features.device.type
        if not torch.is_autocast_enabled(device):
            result: Tensor = inherited.forward(features)
            return result
        with torch.autocast(device, enabled=False):
            result = inherited.forward(features.float())
        return result.to(torch.get_autocast_dtype(device))


def _exempted(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    return type(f"Float32{kind.__name__}", (_Float32, kind), {})
