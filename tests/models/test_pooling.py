import pytest
import torch
from torch.nn import functional as F

from autosd.models.pooling import keep_layout, pool

NHWC = torch.channels_last


def maps(layout, *shape, dtype=torch.float32):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return values.contiguous(memory_format=layout).requires_grad_()


def gradient_before_the_leaf(tap, loss):
    """The gradient that arrives at `tap`, as it arrives (a leaf would re-lay it)."""
    seen = []
    inner = tap * 1.0
    inner.register_hook(seen.append)
    loss(inner).backward()
    return seen[0]


@pytest.mark.parametrize("layout", [NHWC, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pool_is_the_mean_over_positions(layout, dtype):
    tap = maps(layout, 3, 5, 4, 6, dtype=dtype)
    pooled = pool(tap)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, tap.mean((2, 3)), rtol=0, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(pool(tap), pooled, rtol=0, atol=0)


@pytest.mark.parametrize("layout", [NHWC, torch.contiguous_format])
def test_the_gradient_of_pool_is_that_of_the_mean_in_the_layout_of_the_map(layout):
    weights = torch.randn(2, 8, dtype=torch.float64)
    tap = maps(layout, 2, 8, 5, 3, dtype=torch.float64)
    ours = gradient_before_the_leaf(tap, lambda map_: (pool(map_) * weights).sum())
    theirs = gradient_before_the_leaf(tap, lambda map_: (map_.mean((2, 3)) * weights).sum())
    torch.testing.assert_close(ours, theirs, rtol=1e-15, atol=0)
    assert ours.is_contiguous(memory_format=layout)


def test_pool_has_exact_first_and_second_derivatives():
    tap = maps(NHWC, 2, 3, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(pool, tap)
    assert torch.autograd.gradgradcheck(lambda map_: pool(map_).square(), tap)


def test_keep_layout_changes_the_gradients_layout_and_nothing_else():
    tap = maps(NHWC, 2, 8, 5, 3)
    plain = gradient_before_the_leaf(tap, lambda map_: F.adaptive_avg_pool2d(map_, 1).sum())
    kept = gradient_before_the_leaf(
        tap, lambda map_: F.adaptive_avg_pool2d(keep_layout(map_), 1).sum()
    )
    torch.testing.assert_close(kept, plain, rtol=0, atol=0)
    assert kept.is_contiguous(memory_format=NHWC)


def test_keep_layout_leaves_tokens_and_nchw_maps_alone():
    tokens = torch.randn(2, 4, 8, requires_grad=True)
    nchw = maps(torch.contiguous_format, 2, 8, 5, 3)
    assert keep_layout(tokens) is tokens
    assert keep_layout(nchw) is nchw
