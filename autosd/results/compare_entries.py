"""Who takes part in a comparison: names and files become recipes with one training in common."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from autosd import resources
from autosd.data.dataset import Data
from autosd.errors import AutosdError
from autosd.models.student import Student
from autosd.recipe import Recipe, StrategySpec, unknown
from autosd.results.catalog import families
from autosd.results.leaderboard import BASELINE
from autosd.search.space import Space
from autosd.strategies.check import (
    build_strategies,
    check_combination,
    check_on_student,
    check_recipe,
    hooks,
    knobs_of,
    run_spec,
)
from autosd.strategies.costs import combined, planned_epochs
from autosd.strategies.strategy import discover


@dataclass(frozen=True)
class Entry:
    """A recipe of the comparison under its label; `chosen` if a file gave it, perhaps a winner."""

    label: str
    recipe: Recipe
    chosen: bool = False

    @property
    def is_reading(self) -> bool:
        """Whether a strategy of it is our reading of a paper that could not be read."""
        names = (spec.name for spec in self.recipe.strategies)
        return any("our reading" in discover()[name].reference.lower() for name in names)


@dataclass(frozen=True)
class Field:
    """All entries, cross-entropy first, and what could not take part, a line for each."""

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()


def field_of(base: Recipe, space: Space, student: Student, names: Sequence[str]) -> Field:
    """The entries of a comparison.

    Args:
        base: data, network, optimiser, epochs, budget and seed that all have in common.
        space: of the study; its families are known by name.
        student: what they have to work on.
        names: strategies, families of a space at their published defaults, or recipe files; none
            stands for every strategy and every family of the space that adds something to them.

    Raises:
        AutosdError: an unknown name, a recipe that does not fit; all of them, one per line.
    """
    if not names:
        return _whole_field(base, space, student)
    found, faults = [_plain(base, BASELINE)], []
    for name in dict.fromkeys(names):
        try:
            entry = _entry(name, base, space, student)
            _check(entry, student)
            found.append(entry)
        except AutosdError as error:
            faults.append(str(error))
    faults += _doubled(found)
    if faults:
        raise AutosdError("\n".join(faults))
    return Field(*_distinct(found))


def given_field(recipes: Mapping[str, Recipe], student: Student) -> Field:
    """The entries of recipes under given labels, for tests of the comparison itself."""
    found = tuple(Entry(label, recipe) for label, recipe in recipes.items())
    for entry in found:
        _check(entry, student)
    return Field(found)


def at_study_budget(field: Field, study: Recipe, student: Student, data: Data, root: Path) -> Field:
    """Where both budgets buy the same epochs, a recipe gets the study's: it is the same run.

    Args:
        field: with another budget than the study's.
        study: its recipe.
        student: what the entries have to work on.
        data: the study's, split.
        root: the study's folder, from which relative paths in knobs are taken.

    Raises:
        AutosdError: a strategy cannot be built, such as one without its file.
    """
    labels = torch.from_numpy(data.part("train").labels)
    entries = (_at_budget(entry, study, student, labels, root) for entry in field.entries)
    return replace(field, entries=tuple(entries))


def _at_budget(entry: Entry, study: Recipe, student: Student, labels: Tensor, root: Path) -> Entry:
    recipe = entry.recipe
    run = run_spec(recipe, student, labels, root)
    try:
        cost = combined(hooks(build_strategies(recipe, student, run, recipe.seed)))
    except AutosdError as error:
        raise AutosdError(f"{entry.label}: {error}") from None
    if planned_epochs(recipe.model_copy(update={"budget": "compute"}), cost) != recipe.epochs:
        return entry
    return replace(entry, recipe=recipe.model_copy(update={"budget": study.budget}))


def _whole_field(base: Recipe, space: Space, student: Student) -> Field:
    drawn = [name for name, strategy in discover().items() if strategy.searched]
    plain = [_plain(base, name) for name in (BASELINE, *drawn)]
    offered = [_family(space, name, base) for name in space.families if name not in discover()]
    found, left_out = [], list[str]()
    for entry in _distinct([*plain, *offered])[0]:
        try:
            _check(entry, student)
            found.append(entry)
        except AutosdError as error:
            left_out.append(f"left out: {'; '.join(str(error).splitlines())}")
    return Field(tuple(found), tuple(left_out))


def _entry(name: str, base: Recipe, space: Space, student: Student) -> Entry:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return _file(Path(name), base)
    if name in discover():
        return _plain(base, name)
    if name in space.families:
        return _family(space, name, base)
    for shipped in resources.names("search_spaces"):
        if name in families(shipped):
            stages = len(student.spec.stages)
            other = Space.read(shipped, discover(), check_combination, stages=stages, base=base)
            return _family(other, name, base)
    raise AutosdError(
        "--strategies: " + unknown("strategy or family", name, {*discover(), *space.families})
    )


def _plain(base: Recipe, name: str) -> Entry:
    """A strategy at its paper's defaults."""
    return Entry(name, base.model_copy(update={"strategies": (StrategySpec(name=name),)}))


def _family(space: Space, name: str, base: Recipe) -> Entry:
    """A family at its published defaults; the space's settings of training are not taken over."""
    alone = Space((space.family(name),))
    return Entry(name, alone.recipe(alone.default_params(name), base))


def _file(path: Path, base: Recipe) -> Entry:
    if not path.is_file():
        raise AutosdError(f"{path}: no such recipe file")
    recipe = Recipe.read(path)
    for key in ("data", "model"):
        if getattr(recipe, key) != getattr(base, key):
            raise AutosdError(
                f"{path}: {key}: differs from the study's; a comparison has one for all recipes"
            )
    common = {key: getattr(base, key) for key in ("epochs", "budget", "seed")}
    label = re.sub(r"[^a-z0-9._-]+", "_", path.stem.lower()).strip("._-")[:48] or "recipe"
    return Entry(label, recipe.model_copy(update=common), chosen=True)


def _check(entry: Entry, student: Student) -> None:
    check_recipe(entry.recipe, entry.label)
    check_on_student(entry.recipe, student)


def _doubled(found: Sequence[Entry]) -> list[str]:
    recipes: dict[str, Recipe] = {}
    return [
        f"--strategies: two different recipes are called {entry.label}; rename a file"
        for entry in found
        if recipes.setdefault(entry.label, entry.recipe) != entry.recipe
    ]


def _distinct(found: Sequence[Entry]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Entries without those that train exactly as an earlier one, and a line for each of these."""
    first: dict[str, Entry] = {}
    same = []
    for entry in found:
        earlier = first.setdefault(_complete(entry.recipe).fingerprint(), entry)
        if earlier.label != entry.label:
            same.append(f"{entry.label} is the recipe of {earlier.label}: one row for both.")
    return tuple(first.values()), tuple(same)


def _complete(recipe: Recipe) -> Recipe:
    """The same recipe with every knob said."""
    specs = tuple(
        StrategySpec(name=spec.name, knobs=knobs_of(spec.name, spec.knobs).model_dump())
        for spec in recipe.strategies
    )
    return recipe.model_copy(update={"strategies": specs})
