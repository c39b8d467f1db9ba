"""What every strategy promises, tested with the real trainer, data and a ResNet-8.

A strategy that is found inherits all of it without a line of its own; a strategy that needs other
strategies beside it states nothing here either: it is tested alone.
"""

import functools
import gc
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from autosd import resources, yamlfile
from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.models.build import build_student
from autosd.models.student import Activations
from autosd.recipe import DataSpec, Recipe
from autosd.search.space import Space
from autosd.strategies.check import check_combination, knobs_of
from autosd.strategies.strategy import Cost, discover
from autosd.training.trainer import Trainer

from .watch import Watch, held_tensors, tensors_of

EPOCHS = 3
NHWC = torch.channels_last
STUDENT_STAGES = 3
SPLIT = {"seed": 0, "val": 700, "select": 701}


@functools.cache
def digits() -> Data:
    """99 training images of 16 x 16 pixels: three batches of 32, then one of 3."""
    return load_data(DataSpec(name="digits", image_size=16, split=SPLIT))


@functools.cache
def one_class() -> Data:
    """The same, with training images of the class 3 only."""
    data = digits()
    labels = data.development.part(data.rows["train"]).labels
    rows = np.asarray(data.rows["train"])[labels == 3]
    return replace(data, rows={**data.rows, "train": rows}, fingerprint="one class")


def recipe_for(name: str, knobs: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """A ResNet-8 with one strategy."""
    base = {
        "data": {"name": "digits", "image_size": 16, "split": SPLIT},
        "model": "resnet8",
        "epochs": EPOCHS,
        "batch_size": 32,
        "precision": "fp32",
        "strategies": [{name: knobs or {}}],
    }
    return Recipe.parse({**base, **changes})


def trainer_for(
    recipe: Recipe, data: Data | None = None, checkpoint: Path | None = None
) -> Trainer:
    return Trainer(recipe, data or digits(), evaluate_on=(), checkpoint=checkpoint)


def trained(recipe: Recipe, data: Data | None = None) -> Trainer:
    """A trainer after all its epochs."""
    trainer = trainer_for(recipe, data)
    list(trainer.epochs())
    return trainer


@functools.cache
def finished(name: str, precision: str = "fp32") -> Trainer:
    """An uninterrupted run of a strategy's published defaults."""
    return trained(recipe_for(name, precision=precision))


def assert_same_state(first: Any, second: Any) -> None:
    """Two state dicts are equal bit for bit."""
    ours, theirs = list(tensors_of(first)), list(tensors_of(second))
    assert len(ours) == len(theirs)
    assert all(map(torch.equal, ours, theirs))


def assert_same_run(first: Trainer, second: Trainer) -> None:
    """Two trainers stand at the same bits, and their loss terms were the same."""
    assert_same_state(first.student.state_dict(), second.student.state_dict())
    assert_same_state(first.strategies.state_dict(), second.strategies.state_dict())
    assert [report["terms"] for report in first.history] == [
        report["terms"] for report in second.history
    ]


class Conformance:
    """The suite; `name` is a parameter of every test."""

    def test_states_what_it_is(self, name: str) -> None:
        strategy = discover()[name]
        module = sys.modules[strategy.__module__].__doc__ or ""
        assert len(strategy.reference) > 20
        assert module.strip(), "the module docstring says what the method is and where it departs"
        for knob, info in strategy.Knobs.model_fields.items():
            assert not info.is_required(), f"{knob} needs the published value as default"
            assert info.description, f"{knob} needs a description"

    def test_knobs_refuse_unknown_names_and_changes(self, name: str) -> None:
        knobs = discover()[name].Knobs()
        with pytest.raises(ValueError, match="not permitted"):
            type(knobs).model_validate({"no_such_knob": 1})
        for knob in type(knobs).model_fields:
            with pytest.raises(ValueError, match="frozen"):
                setattr(knobs, knob, getattr(knobs, knob))

    def test_works_through_odd_batches_and_changes_no_input(self, name: str) -> None:
        trainer = trainer_for(recipe_for(name))
        strategy = trainer.strategies[name]
        watch = Watch(name, strategy, len(digits().class_names))
        reports = list(trainer.epochs())
        assert watch.steps == EPOCHS * 4
        assert all(math.isfinite(v) for report in reports for v in report.terms.values())
        assert set().union(*(report.terms for report in reports)) == watch.terms | {"supervised"}

    def test_every_parameter_gets_a_gradient(self, name: str) -> None:
        trainer = trainer_for(recipe_for(name, epochs=2))
        parts = {"student": trainer.student, "strategy": trainer.strategies[name]}
        missing = {
            f"{part}.{key}": parameter
            for part, module in parts.items()
            for key, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        for key, parameter in list(missing.items()):
            parameter.register_hook(functools.partial(_seen, missing, key))
        list(trainer.epochs())
        assert not missing, f"never a gradient: {', '.join(missing)}"

    def test_owns_nothing_of_the_student(self, name: str) -> None:
        trainer = finished(name)
        own = [*trainer.strategies.parameters(), *trainer.strategies.buffers()]
        theirs = [*trainer.student.parameters(), *trainer.student.buffers()]
        pointers = [tensor.data_ptr() for tensor in (*own, *theirs) if tensor.numel()]
        assert len(set(pointers)) == len(pointers)
        assert trainer.student not in list(trainer.strategies.modules())
        assert not any(
            value is trainer.student
            for module in trainer.strategies.modules()
            for value in vars(module).values()
        )

    def test_initial_student_does_not_depend_on_it(self, name: str) -> None:
        before = torch.get_rng_state()
        trainer = trainer_for(recipe_for(name))
        plain = build_student(
            trainer.recipe.model, len(digits().class_names), digits().image_shape, seed=0
        )
        assert_same_state(trainer.student.state_dict(), plain.state_dict())
        assert torch.equal(before, torch.get_rng_state())

    def test_same_seed_same_result(self, name: str) -> None:
        assert_same_run(finished(name), trained(recipe_for(name)))

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_resume_equals_uninterrupted(self, name: str, precision: str, tmp_path: Path) -> None:
        recipe, file = recipe_for(name, precision=precision), tmp_path / "last.pt"
        first = trainer_for(recipe, checkpoint=file)
        next(first.epochs())
        first.save()
        resumed = trainer_for(recipe, checkpoint=file)
        list(resumed.epochs())
        assert_same_run(resumed, finished(name, precision))

    def test_state_exists_after_the_constructor_and_stays_as_large(self, name: str) -> None:
        def shapes(trainer: Trainer) -> dict[str, Any]:
            state = trainer.strategies.state_dict()
            return {key: (value.shape, value.dtype) for key, value in state.items()}

        assert shapes(trainer_for(recipe_for(name))) == shapes(finished(name))

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_gradients_of_taps_keep_channels_last(
        self, name: str, precision: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of its own terms alone, and of the whole loss: a copy of a map costs a pass over it."""
        trainer = trainer_for(recipe_for(name, precision=precision, epochs=2))
        strategy, layouts = trainer.strategies[name], []
        losses = strategy.losses

        def watched(taps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            for tap in taps:
                tap.register_hook(lambda g: layouts.append(g.is_contiguous(memory_format=NHWC)))
            return taps

        def losses_on_aliases(activations: Activations, *others: Any) -> dict[str, Tensor]:
            watched(activations.taps)
            taps = watched(tuple(tap.view_as(tap) for tap in activations.taps))
            return losses(activations._replace(taps=taps), *others)

        monkeypatch.setattr(strategy, "losses", losses_on_aliases)
        list(trainer.epochs())
        assert len(layouts) >= 2 * 4 * STUDENT_STAGES
        assert all(layouts)

    def test_memory_is_flat(self, name: str) -> None:
        gc.freeze()
        sizes = []
        for _ in trainer_for(recipe_for(name)).epochs():
            gc.collect()
            sizes.append(_live_bytes())
        gc.unfreeze()
        assert sizes[-1] <= sizes[-2]

    def test_stored_tensors_have_no_gradient(self, name: str) -> None:
        strategy = finished(name).strategies[name]
        assert all(
            not held.requires_grad and held.grad_fn is None for held in held_tensors(strategy)
        )

    def test_exported_student_has_nothing_of_it(self, name: str, tmp_path: Path) -> None:
        trainer = finished(name)
        plain = build_student(
            trainer.recipe.model, len(digits().class_names), digits().image_shape, seed=0
        )
        assert list(trainer.student.state_dict()) == list(plain.state_dict())
        trainer.export(tmp_path / "model", {})
        exported = safetensors_keys(tmp_path / "model" / "model.safetensors")
        assert exported <= set(plain.state_dict())

    def test_neutral_knobs_are_plain_training(self, name: str) -> None:
        neutral = discover()[name].neutral()
        if neutral is None:
            return
        trainer = trained(recipe_for(name, neutral.model_dump(mode="json")))
        plain = finished("cross_entropy")
        assert_same_state(trainer.student.state_dict(), plain.student.state_dict())
        assert [report["terms"] for report in trainer.history] == [
            report["terms"] for report in plain.history
        ]

    def test_one_class_in_a_batch(self, name: str) -> None:
        reports = trained(recipe_for(name, batch_size=4, epochs=2), one_class()).history
        assert all(math.isfinite(term) for report in reports for term in report["terms"].values())

    def test_cost_is_declared(self, name: str) -> None:
        cost = finished(name).strategies[name].cost()
        assert 1 <= cost.backwards <= cost.forwards < 20
        neutral = discover()[name].neutral()
        if neutral is not None:
            recipe = recipe_for(name, neutral.model_dump(mode="json"), epochs=1)
            assert trainer_for(recipe).strategies[name].cost() == Cost()

    def test_its_space_is_valid_over_the_whole_range(self, name: str) -> None:
        if not discover()[name].searched:
            return
        space = Space.read(name, discover(), check_combination, stages=STUDENT_STAGES)
        assert name in space.families
        student = finished(name).student
        for knob in space.knobs(name):
            strategy, _, key = knob.name.partition(".")
            if strategy != name:
                continue
            assert key in discover()[name].Knobs.model_fields
            for value in knob.choices or _between(*knob.bounds):
                value = round(value) if knob.kind == "integers" else value
                knobs = knobs_of(name, {key: value})
                assert discover()[name].check(knobs, student) == []

    def test_it_is_in_a_shipped_space_if_searched(self, name: str) -> None:
        if not discover()[name].searched:
            assert name not in resources.names("search_spaces")
            return
        shipped = yamlfile.read(resources.find("search_spaces", name))
        assert name in shipped["strategies"]


def safetensors_keys(file: Path) -> set[str]:
    """Names of the tensors in an exported file."""
    with safe_open(file, framework="pt") as tensors:
        return set(tensors.keys())


def _seen(missing: dict[str, Tensor], key: str, gradient: Tensor) -> None:
    if gradient.any():
        missing.pop(key, None)


def _between(low: float, high: float) -> list[float]:
    """Both ends, and points between."""
    return [low, low + (high - low) * 0.25, (low + high) / 2, high]


def _live_bytes() -> int:
    """Bytes of all tensors made since `gc.freeze`."""
    return sum(
        found.element_size() * found.nelement()
        for found in gc.get_objects()
        if type(found) in (Tensor, torch.nn.Parameter)
    )
