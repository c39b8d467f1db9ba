"""Trials as their folders tell them, for a study whose database is gone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search import curve
from autosd.search.knobs import STRATEGY, Family
from autosd.search.records import TrialRecord
from autosd.search.space import Space
from autosd.search.study import StudyFolder

UNKNOWN = "stopped before its last epoch; why is in the database"


def remains(folder: StudyFolder) -> list[TrialRecord]:
    """Every trial that left a recipe and at least one epoch, in order of number.

    A trial whose curve is whole is complete; another one was pruned, failed or interrupted, which
    its folder does not tell, and is given as pruned.
    """
    paths = sorted((folder.path / "trials").glob("[0-9]*"))
    found = (_record(folder, path) for path in paths if path.name.isdecimal())
    return [record for record in found if record is not None]


def _record(folder: StudyFolder, path: Path) -> TrialRecord | None:
    try:
        recipe = Recipe.read(path / "recipe.yaml")
        epochs = curve.read(path / "history.jsonl")
        values = [(one["epoch"], one["evaluated"]["val"]) for one in epochs]
        objective = folder.definition.objective
        points = [(epoch, metrics.get(objective)) for epoch, metrics in values]
        seconds = sum(float(one["seconds"]) for one in epochs)
    except (AutosdError, OSError, ValueError, KeyError, TypeError):
        return None
    if not points:
        return None
    params = parameters(folder.space, recipe, folder.definition.recipe)
    whole = points[-1][0] >= epochs[-1].get("epochs", recipe.epochs)
    return TrialRecord(
        number=int(path.name),
        lineage=int(path.name),
        state="complete" if whole else "pruned",
        family=str(params.get(STRATEGY, "")),
        strategies=tuple(spec.name for spec in recipe.strategies),
        params=params,
        value=points[-1][1],
        curve=tuple((epoch, value) for epoch, value in points if value is not None),
        epochs_run=len(points),
        seconds=seconds,
        origin="search",
        protected=False,
        why="" if whole else UNKNOWN,
    )


def parameters(space: Space, recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """What a trial must have drawn for this recipe; empty where no family of the space gives it.

    Compositions can give the same recipe as others: the first in the order of the space is named.
    """
    wanted = recipe.with_seed(base.seed).fingerprint()
    names = tuple(spec.name for spec in recipe.strategies)
    places = _places(recipe)
    for family in space.members:
        for params in _candidates(space, family, names, places):
            try:
                if space.recipe(params, base).fingerprint() == wanted:
                    return params
            except AutosdError:
                continue
    return {}


def _candidates(
    space: Space, family: Family, names: tuple[str, ...], places: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The parameters of a family that have these strategies and these values."""
    left = [name for name in names if name not in family.members and name != "cross_entropy"]
    params: dict[str, Any] = {STRATEGY: family.name}
    for slot in family.slots:
        drawn = [name for name in left if name in slot.choices]
        params[slot.name] = drawn[0] if drawn else "none"
    if family.strategies(params) != names:
        return
    for knob in space.knobs(family.name):
        if knob.sets and knob.active(params) and knob.sets[0] in places:
            params[knob.name] = places[knob.sets[0]]
    yield params


def _places(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe by dotted place: `optimizer.lr`, `masd.mask_ratio`."""
    flat: dict[str, Any] = {}
    for key, value in recipe.mapping().items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": of for name, of in value.items()}
        else:
            flat[key] = value
    for spec in recipe.strategies:
        flat |= {f"{spec.name}.{name}": of for name, of in spec.knobs.items()}
    return flat
