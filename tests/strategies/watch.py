"""Looks over a strategy's shoulder while the real trainer calls its hooks."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from autosd.data.batches import Batch
from autosd.models.student import Activations
from autosd.strategies.strategy import Strategy, Targets

WAITING = (
    *("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__"),
    *("nonzero", "masked_select", "unique", "bincount"),
)


def tensors_of(state: Any) -> Iterator[Tensor]:
    """Every tensor below a state dict."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from tensors_of(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from tensors_of(value)


class NeverWaits(TorchFunctionMode):
    """Refuses what makes the host wait for a device: values read, shapes that depend on data."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        assert name not in WAITING, f"{name} waits for the device inside a step"
        if name in ("__getitem__", "__setitem__"):
            places = [part for part in tensors_of(args[1]) if part.dtype == torch.bool]
            assert not places, "indexing with a mask waits for the device inside a step"
        return func(*args, **(kwargs or {}))


@dataclass
class Watch:
    """Looks at every call of a strategy's hooks while a real trainer runs it."""

    name: str
    strategy: Strategy
    classes: int
    terms: set[str] = field(default_factory=set)
    steps: int = 0

    def __post_init__(self) -> None:
        for hook in ("prepare", "targets", "losses", "after_step"):
            setattr(self.strategy, hook, self._checked(getattr(self.strategy, hook), hook))

    def _checked(self, hook: Callable[..., Any], kind: str) -> Callable[..., Any]:
        check = getattr(self, f"check_{kind}")

        def call(*inputs: Any) -> Any:
            versions = [part._version for part in _inputs(inputs)]
            stream = torch.get_rng_state()
            with NeverWaits():
                result = hook(*inputs)
            assert versions == [part._version for part in _inputs(inputs)], f"{kind}: in place"
            assert torch.equal(stream, torch.get_rng_state()), f"{kind}: draws from the global rng"
            check(result, *inputs)
            return result

        return call

    def check_prepare(self, result: Batch, batch: Batch, *_: Any) -> None:
        rows = len(result.labels)
        assert result.fresh == batch.fresh == len(batch.labels) <= rows
        for column in (result.images, result.index, result.view, result.source):
            assert len(column) == rows
        assert result.images.shape[1:] == batch.images.shape[1:]
        assert torch.equal(result.labels[: batch.fresh], batch.labels)
        assert torch.equal(result.index[: batch.fresh], batch.index)
        assert not result.images.requires_grad

    def check_targets(self, result: Targets, given: Targets, batch: Batch, *_: Any) -> None:
        assert torch.equal(result.labels, batch.labels)
        if result.soft is not None:
            assert result.soft.shape == (len(batch.labels), self.classes)
            assert result.soft.dtype == torch.float32
            assert not result.soft.requires_grad
            torch.testing.assert_close(result.soft.sum(1), torch.ones(len(batch.labels)))

    def check_losses(
        self,
        result: dict[str, Tensor],
        activations: Activations,
        targets: Targets,
        batch: Batch,
        *_: Any,
    ) -> None:
        self.steps += 1
        self.terms |= set(result)
        assert activations.logits.shape == (len(batch.labels), self.classes)
        for name, term in result.items():
            assert name.startswith(f"{self.name}/")
            assert term.shape == ()
            assert term.dtype == torch.float32
            assert math.isfinite(term.item())
            assert term.requires_grad

    def check_after_step(self, result: None, *_: Any) -> None:
        assert all(held.grad_fn is None for held in held_tensors(self.strategy))


def _inputs(values: tuple[Any, ...]) -> Iterator[Tensor]:
    """Tensors that a hook was given and must leave as they are."""
    for value in values:
        if isinstance(value, Batch):
            yield from (value.images, value.labels, value.index, value.view, value.source)
        elif isinstance(value, Activations):
            yield from (value.logits, value.embedding, *value.taps)
        elif isinstance(value, Targets):
            yield from tensors_of([value.labels, value.soft])


def held_tensors(strategy: Strategy) -> Iterator[Tensor]:
    """Buffers and plain attributes of a strategy and its parts that are tensors."""
    yield from strategy.buffers()
    for module in strategy.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))
