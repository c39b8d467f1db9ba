"""Depthwise convolutions whose bfloat16 gradients crawl are spared, others are not."""

import copy

import pytest
import torch
from torch import nn

from autosd.training.depthwise import exempt_from_autocast


class Recorder(nn.Module):
    """Notes the type of what its convolution really worked on."""

    def __init__(self, **options: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(8, 8, bias=False, **options)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            result: torch.Tensor = self.layer(images.bfloat16())
        return result


SLOW = [
    {"kernel_size": 3, "groups": 8, "stride": 2, "padding": 1},
    {"kernel_size": 5, "groups": 8, "padding": 2},
]
FAST = [
    {"kernel_size": 3, "groups": 8, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 5, "groups": 4, "padding": 2},
]


def rounded_weight_gradient(network: Recorder, images: torch.Tensor) -> bool:
    """Whether the weight's gradient has the few bits of bfloat16."""
    network(images).float().sum().backward()
    gradient = network.layer.weight.grad
    assert gradient is not None
    return torch.equal(gradient, gradient.bfloat16().float())


@pytest.mark.parametrize(
    ("options", "spared"), [(o, True) for o in SLOW] + [(o, False) for o in FAST]
)
def test_slow_layers_work_in_float32(options: dict[str, int], spared: bool) -> None:
    network = Recorder(**options)
    exempt_from_autocast([network])
    images = torch.rand(4, 8, 9, 9, generator=torch.Generator().manual_seed(0))
    assert network(images).dtype == torch.bfloat16
    assert rounded_weight_gradient(network, images) != (options in SLOW)


def test_a_copy_is_spared_and_keeps_names_and_results() -> None:
    network = Recorder(**SLOW[0])
    images = torch.rand(4, 8, 9, 9)
    names, before = list(network.state_dict()), network.layer(images)
    exempt_from_autocast([network])
    exempt_from_autocast([network])
    twin = copy.deepcopy(network)
    assert list(twin.state_dict()) == names
    assert torch.equal(twin.layer(images), before)
    assert not rounded_weight_gradient(twin, images)
