"""Names, knobs and combinations of strategies, checked before anything is written or trained."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from autosd.errors import AutosdError
from autosd.models.student import Student
from autosd.recipe import Recipe, StrategySpec, parse, unknown
from autosd.strategies.memory import too_large
from autosd.strategies.strategy import (
    Effect,
    Knobs,
    RunSpec,
    Slot,
    Strategy,
    discover,
)
from autosd.streams import seed_for

WHY_ONE_OWNER = {
    Slot.COMPOSE: "two would decide which rows make up a batch, and its cost would multiply",
    Slot.MIX: "a batch is mixed once",
    Slot.TARGET: "each defines the whole target, so their order would matter",
    Slot.TEACHER: "each adds its own KL on the same logits, with weights that do not compare",
    Slot.HEADS: "both read the same stages; cost adds up and a gain could not be told apart",
}


def strategy_named(name: str, where: str = "recipe") -> type[Strategy]:
    """The strategy of a name.

    Raises:
        AutosdError: there is none; names the nearest.
    """
    found = discover().get(name)
    if found is None:
        raise AutosdError(f"{where}: {unknown('strategy', name, discover())}")
    return found


def knobs_of(name: str, values: object, where: str = "recipe") -> Knobs:
    """Knobs of a strategy from plain values; what is not given has its published default.

    Raises:
        AutosdError: unknown strategy or knobs, or values out of bounds; one line for each.
    """
    return parse(strategy_named(name, where).Knobs, values, f"{where}: {name}")


def check_recipe(recipe: Recipe, where: str = "recipe") -> list[str]:
    """Check names, knobs and the combination of a recipe's strategies.

    Returns:
        Warnings, one line each.

    Raises:
        AutosdError: all faults, one line each.
    """
    faults, warnings = [], []
    for spec in recipe.strategies:
        try:
            knobs = knobs_of(spec.name, spec.knobs, where)
            warnings += strategy_named(spec.name).advice(knobs, recipe.epochs)
        except AutosdError as error:
            faults.append(str(error))
    known = [spec.name for spec in recipe.strategies if spec.name in discover()]
    faults += [f"{where}: {clash}" for clash in _clashes(known)]
    if faults:
        raise AutosdError("\n".join(faults))
    return warnings + discouraged(known)


def check_combination(names: Sequence[str]) -> None:
    """Check that strategies can work together; unknown names are refused.

    Raises:
        AutosdError: one line for each pair that cannot, with both names and the reason.
    """
    for name in names:
        strategy_named(name, "strategies")
    clashes = list(_clashes(names))
    if clashes:
        raise AutosdError("\n".join(clashes))


def discouraged(names: Sequence[str]) -> list[str]:
    """One line for each pair that may work together and gains little by it."""
    return [
        f"{first} and {second}: {reason}"
        for one, other in combinations(names, 2)
        for first, second in ((one, other), (other, one))
        for effect, reason in discover()[first].discourages.items()
        if effect in discover()[second].effects
    ]


def _clashes(names: Sequence[str]) -> Iterator[str]:
    for first, second in combinations(names, 2):
        reason = clash(first, second)
        if reason:
            yield f"{first} and {second} exclude each other: {reason}"


def clash(first: str, second: str) -> str | None:
    """Why two strategies cannot be in one recipe, or None."""
    one, other = discover()[first], discover()[second]
    for slot in Slot:
        if slot in WHY_ONE_OWNER and slot in one.slots & other.slots:
            return f"both claim the slot '{slot}'; {WHY_ONE_OWNER[slot]}"
    for effect in Effect:
        for doer, refuser, name in ((one, other, second), (other, one, first)):
            if effect in doer.effects and effect in refuser.refuses:
                return f"{name} refuses {effect}: {refuser.refuses[effect]}"
    return None


def check_on_student(recipe: Recipe, student: Student, images: int = 0) -> list[str]:
    """Check that a recipe's strategies can work on a student.

    Args:
        recipe: names its strategies.
        student: that it trains.
        images: of the training part, whose memories have to fit.

    Returns:
        What the user should know, one line each.

    Raises:
        AutosdError: all reasons why they cannot, one line each.
    """
    faults, notes = [], []
    for spec in recipe.strategies:
        strategy = strategy_named(spec.name)
        knobs = knobs_of(spec.name, spec.knobs)
        faults += strategy.check(knobs, student)
        faults += too_large(images, student.spec.classes, strategy.memories, spec.name)
        notes += strategy.notes(knobs, student)
        if Effect.NON_TARGET in strategy.effects and student.spec.classes == 2:
            notes.append(
                f"{spec.name}: of two classes one is wrong, so its term over the wrong classes is 0"
            )
    if faults:
        raise AutosdError("\n".join(faults))
    return notes


def run_spec(recipe: Recipe, student: Student, labels: Tensor, root: Path) -> RunSpec:
    """What the recipe's strategies are told of its run, on the device of the labels.

    Args:
        recipe: its epochs are the planned ones.
        student: built for the data.
        labels: `[N]` int64 labels of the images that are trained on.
        root: folder from which relative paths in knobs are taken.
    """
    return RunSpec(
        classes=student.spec.classes,
        count=len(labels),
        labels=labels,
        image_shape=student.spec.image_shape,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        device=labels.device,
        root=root,
    )


def build_strategies(recipe: Recipe, student: Student, run: RunSpec, seed: int) -> nn.ModuleDict:
    """The recipe's strategies by name, in the order in which their hooks are called.

    Each is built under its own stream of (seed, "init", name): neither the student nor any
    other draw depends on it. A strategy that mixes comes last.
    """
    check_on_student(recipe, student, run.count)
    specs = sorted(recipe.strategies, key=lambda spec: Slot.MIX in strategy_named(spec.name).slots)
    return nn.ModuleDict({spec.name: _built(spec, student, run, seed) for spec in specs})


def hooks(modules: nn.ModuleDict) -> list[Strategy]:
    """What `build_strategies` built, in its order."""
    return cast("list[Strategy]", list(modules.values()))


def _built(spec: StrategySpec, student: Student, run: RunSpec, seed: int) -> Strategy:
    knobs = knobs_of(spec.name, spec.knobs)
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_for(seed, "init", spec.name))
        return strategy_named(spec.name)(knobs, student, run)
