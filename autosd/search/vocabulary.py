"""What a space may name: knobs of strategies and settings of a recipe, with valid values."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from autosd.errors import AutosdError
from autosd.recipe import Recipe, set_values, unknown

SEARCHABLE = ("optimizer", "schedule", "augment", "average", "batch_size", "class_weights")


Declarations = Mapping[str, Any]
"""Strategies by name; of each the space needs its pydantic `Knobs`, and whether it is `searched`.

A protocol would say so, but mypy takes no nested class for an attribute of one.
"""


class Vocabulary:
    """Names, defaults and validity of everything that a space can set.

    A *place* is where a value goes: `masd.mask_ratio`, or `optimizer.lr` in the recipe, whose
    default is its value in the `base` recipe.
    """

    def __init__(self, declarations: Declarations, base: Recipe | None = None) -> None:
        self.declarations = declarations
        self.settings = _settings(base or Recipe.parse({"data": "digits"}, "base"))

    def strategy_fault(self, name: str) -> str | None:
        """Why no space may have this strategy, or None."""
        if name not in self.declarations:
            return unknown("strategy", name, self.declarations)
        searched = getattr(self.declarations[name], "searched", True)
        return None if searched else f"{name} needs a file of its own; no search draws it"

    def knobs(self, strategy: str) -> Mapping[str, Any]:
        """The knobs of a strategy by name; none for an unknown one."""
        declared = self.declarations.get(strategy)
        fields: Mapping[str, Any] = {} if declared is None else declared.Knobs.model_fields
        return fields

    def knob_fault(self, place: str) -> str | None:
        """Why there is no such knob of a strategy, or None."""
        strategy, _, knob = place.partition(".")
        if fault := self.strategy_fault(strategy):
            return fault
        known = self.knobs(strategy)
        return None if knob in known else unknown(f"knob of {strategy}", knob, known)

    def setting_fault(self, place: str) -> str | None:
        """Why no space may search this setting of the recipe, or None."""
        if place in self.settings:
            return None
        if place.split(".")[0] in set(Recipe.model_fields) - set(SEARCHABLE):
            return f"is decided by the study, not by a space; searchable: {', '.join(SEARCHABLE)}"
        return unknown("setting of a recipe", place, self.settings)

    def place_fault(self, place: str) -> str | None:
        """Why there is no such place, or None."""
        return None if place in self.settings else self.knob_fault(place)

    def value_fault(self, place: str, value: Any) -> str | None:
        """Why a place cannot have this value, or None."""
        if place in self.settings:
            return self._setting_value_fault(place, value)
        if fault := self.knob_fault(place):
            return fault
        strategy, _, knob = place.partition(".")
        try:
            self.declarations[strategy].Knobs.model_validate({knob: value})
        except ValidationError as error:
            for found in error.errors(include_url=False, include_context=False):
                if found["loc"][:1] == (knob,):
                    return f"{found['msg']}, not {value!r:.60}"
        return None

    def _setting_value_fault(self, place: str, value: Any) -> str | None:
        try:
            Recipe.parse(set_values({"data": "digits"}, {place: value}), "value")
        except AutosdError as error:
            return str(error).removeprefix(f"value: {place}: ")
        return None

    def default(self, place: str) -> Any:
        """The default of a place; None where it has none."""
        if place in self.settings:
            return self.settings[place]
        strategy, _, knob = place.partition(".")
        field = self.knobs(strategy).get(knob)
        if field is None or field.is_required():
            return None
        return field.get_default(call_default_factory=True, validated_data={})


def _settings(base: Recipe) -> dict[str, Any]:
    """Dotted settings of a recipe that may be searched, with their values."""
    values = base.mapping()
    settings: dict[str, Any] = {}
    for name in SEARCHABLE:
        value = values[name]
        if isinstance(value, Mapping):
            settings |= {f"{name}.{key}": of for key, of in value.items()}
        else:
            settings[name] = value
    return settings
