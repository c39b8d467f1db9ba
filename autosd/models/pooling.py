"""Global average pooling that leaves a channels_last network on its layout.

The backward of `mean((2, 3))` and of adaptive pooling hands a gradient in NCHW order to a
channels_last map, and every layer below then works on the wrong layout: two linear heads of no
arithmetic made a ResNet-8 step 1.5 times as long. Every pooled map goes through `pool`.
"""

from typing import Any

import torch
from torch import Tensor


def pool(tap: Tensor) -> Tensor:
    """Mean over the positions of a map: `[B, C, H, W] -> [B, C]`, in the dtype of the map."""
    if torch.is_grad_enabled() and tap.requires_grad:
        pooled: Tensor = _Mean.apply(tap)
        return pooled
    return tap.mean((2, 3))


def keep_layout(features: Tensor) -> Tensor:
    """The same map; its gradient comes back channels_last if the map is (for foreign heads)."""
    if features.dim() != 4 or not features.requires_grad or _layout(features) is _NCHW:
        return features
    kept: Tensor = _KeepLayout.apply(features)
    return kept


_NCHW, _NHWC = torch.contiguous_format, torch.channels_last


def _layout(tap: Tensor) -> torch.memory_format:
    return _NHWC if tap.is_contiguous(memory_format=_NHWC) else _NCHW


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tap: Tensor) -> Tensor:
        ctx.shape, ctx.layout = tap.shape, _layout(tap)
        return tap.mean((2, 3))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        height, width = ctx.shape[2:]
        share = gradients[0] / (height * width)
        spread: Tensor = share[:, :, None, None].expand(ctx.shape)
        return spread.contiguous(memory_format=ctx.layout)


class _KeepLayout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous(memory_format=_NHWC)
