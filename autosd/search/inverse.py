"""From a recipe back to the parameters of a trial: what `Space.recipe` does, the other way round.

A recipe can be a trial of a study if some family, with some values in its ranges, gives exactly
this recipe on the study's base. Where none does, the differences to the nearest family are told.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search.knobs import STRATEGY, Family, Knob, same
from autosd.search.space import Space
from autosd.search.vocabulary import Declarations, Vocabulary

Places = dict[str, Any]


def params_of(
    space: Space, recipe: Recipe, base: Recipe, declarations: Declarations
) -> dict[str, Any]:
    """The parameters for which `space.recipe(params, base)` trains as `recipe` does.

    The seed is the study's in every trial and is not compared; neither is the order of strategies,
    nor whether a knob with its default is written out.

    Args:
        space: of the study.
        recipe: complete; its strategies and knobs are known to be valid.
        base: the recipe that the study's trials are built on.
        declarations: strategies by name, each with its `Knobs`.

    Raises:
        AutosdError: no trial can be this recipe; one line for each value that is in the way.
    """
    words = Vocabulary(declarations)
    wanted = _places(recipe, words)
    nearest: list[str] | None = None
    for family in space.members:
        for drawn in _slots(family, recipe):
            params, faults = _drawn(space, family, drawn, wanted, words)
            faults |= {
                place: fault
                for place, fault in _differences(space.recipe(params, base), wanted, words)
                if place not in faults
            }
            if not faults:
                space.check_params(params)
                return params
            lines = [f"{fault} (family {family.name})" for fault in dict.fromkeys(faults.values())]
            if nearest is None or len(lines) < len(nearest):
                nearest = lines
    raise AutosdError("\n".join(nearest or [_no_family(space, recipe)]))


def _no_family(space: Space, recipe: Recipe) -> str:
    names = " + ".join(strategy.name for strategy in recipe.strategies)
    return (
        f"strategies: no family of this study trains {names}; it has: {', '.join(space.families)}"
    )


def _slots(family: Family, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Choices of members under which a family has exactly the strategies of a recipe."""
    names = {strategy.name for strategy in recipe.strategies}
    open_choices = [
        [choice for choice in slot.choices if choice in names or choice == "none"]
        for slot in family.slots
    ]
    for chosen in itertools.product(*open_choices):
        drawn = {slot.name: one for slot, one in zip(family.slots, chosen, strict=True)}
        strategies = family.strategies(drawn)
        if set(strategies) == names and len(strategies) == len(names):
            yield {STRATEGY: family.name, **drawn}


def _drawn(
    space: Space, family: Family, drawn: Mapping[str, Any], wanted: Places, words: Vocabulary
) -> tuple[dict[str, Any], dict[str, str]]:
    """Parameters with the recipe's values; and place -> fault where a range has not its value."""
    params, faults = dict(drawn), dict[str, str]()
    for knob in space.knobs(family.name):
        if knob.name in params or not knob.active(params):
            continue
        values = [wanted.get(place, words.default(place)) for place in knob.sets]
        if any(not same(value, values[0]) for value in values):
            given = zip(knob.sets, values, strict=True)
            said = ", ".join(f"{place} is {value!r}" for place, value in given)
            faults |= dict.fromkeys(knob.sets, f"{said}; they have one value in this study")
        elif not knob.accepts(values[0]):
            fault = f"{knob.sets[0]}: {values[0]!r} is {_outside(knob)} of this study"
            faults |= dict.fromkeys(knob.sets, fault)
        params[knob.name] = _typed(knob, values[0])
    return params, faults


def _outside(knob: Knob) -> str:
    if knob.kind == "choice":
        return f"none of the choices {', '.join(map(str, knob.choices))}"
    low, high = knob.bounds
    return f"outside the range {low:g} to {high:g}"


def _typed(knob: Knob, value: Any) -> Any:
    """The value as a trial of this knob would have it."""
    if not knob.accepts(value):
        return knob.default
    if knob.kind == "choice":
        return next(choice for choice in knob.choices if same(value, choice))
    return int(value) if knob.kind == "integers" else float(value)


def _differences(made: Recipe, wanted: Places, words: Vocabulary) -> Iterator[tuple[str, str]]:
    """Places at which the recipe of the parameters is not the one that is wanted, and how."""
    own = _places(made, words)
    for place in dict.fromkeys([*wanted, *own]):
        if place not in wanted or place not in own or not same(wanted[place], own[place]):
            here, there = _said(wanted, place), _said(own, place)
            yield place, f"{place}: {here} in the recipe, {there} in this study"


def _said(places: Places, place: str) -> str:
    return repr(places[place]) if place in places else "nothing"


def _places(recipe: Recipe, words: Vocabulary) -> Places:
    """Every dotted place of a recipe but its seed, with the knobs of strategies filled in."""
    values = recipe.mapping()
    del values["seed"], values["strategies"]
    places = _flat(values)
    for strategy in recipe.strategies:
        knobs = {
            knob: words.default(f"{strategy.name}.{knob}") for knob in words.knobs(strategy.name)
        }
        places |= {
            f"{strategy.name}.{knob}": of for knob, of in {**knobs, **strategy.knobs}.items()
        }
    return places


def _flat(values: Mapping[str, Any], prefix: str = "") -> Places:
    flat: Places = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def filled_in(values: Mapping[str, Any], space: Space, base: Recipe) -> dict[str, Any]:
    """The values of a recipe file, with the study's where the file says nothing.

    A setting that the space searches has its default there; a block that is given as a bare name
    (`optimizer: adamw`) keeps the study's other values of that block only if the name is the same.
    """
    whole = base.mapping()
    for knob in space.training:
        for place in knob.sets:
            _set(whole, place.split("."), knob.default)
    return _merged(whole, values)


def _set(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
    values[keys[-1]] = value


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in given.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, str):
            value = {"name": value}
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            other = "name" in value and value["name"] != below.get("name")
            merged[key] = dict(value) if other else _merged(below, value)
        else:
            merged[key] = value
    return merged
