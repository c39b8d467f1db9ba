"""Knobs and families of a space as plain values, and what a trial must offer to draw them."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from autosd.errors import AutosdError

STRATEGY = "strategy"
KINDS = ("uniform", "log_uniform", "integers", "choice")
SYMBOLIC = re.compile(
    r"(?:min\(\s*(?P<most>\d+)\s*,\s*)?stages(?:\s*-\s*(?P<less>\d+))?(?(most)\s*\))"
)
FAMILY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
"""What a family may be called: folders of runs are named after it."""
Number = int | float


class Suggest(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A float of `[low, high]`."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """An integer of `[low, high]`."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of `choices`."""


@dataclass(frozen=True)
class Condition:
    """A knob exists only in trials whose parameter `name` has one of `values`."""

    name: str
    values: tuple[Any, ...]

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether these parameters fulfil it; an absent parameter does not."""
        return self.name in params and params[self.name] in self.values


@dataclass(frozen=True)
class Knob:
    """One parameter of a study.

    Attributes:
        name: the parameter's name, such as `masd.mask_ratio`.
        kind: one of `KINDS`.
        low, high: inclusive bounds of a numeric kind, None for a choice.
        choices: values of a choice, empty for a numeric kind.
        default: the published value, inside the range.
        sets: dotted places that receive the value (`optimizer.lr`, `masd.mask_ratio`); empty for
            the choice of a member in a composed family.
        when: all must hold for the knob to exist.
    """

    name: str
    kind: str
    low: Number | None = None
    high: Number | None = None
    choices: tuple[Any, ...] = ()
    default: Any = None
    sets: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()

    @property
    def log(self) -> bool:
        """Whether it is drawn on the log scale."""
        return self.kind == "log_uniform"

    def active(self, params: Mapping[str, Any]) -> bool:
        """Whether it exists beside these parameters."""
        return all(condition.holds(params) for condition in self.when)

    def suggest(self, trial: Suggest) -> Any:
        """Draw a value from a trial."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.choices)
        low, high = self.bounds
        if self.kind == "integers":
            return trial.suggest_int(self.name, int(low), int(high))
        return trial.suggest_float(self.name, float(low), float(high), log=self.log)

    @property
    def bounds(self) -> tuple[Number, Number]:
        """`(low, high)` of a numeric knob."""
        if self.low is None or self.high is None:
            raise ValueError(f"{self.name} is a choice and has no bounds")
        return self.low, self.high

    def accepts(self, value: Any) -> bool:
        """Whether `value` lies in the range."""
        if self.kind == "choice":
            return any(same(value, choice) for choice in self.choices)
        low, high = self.bounds
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        whole = self.kind != "integers" or float(value).is_integer()
        return whole and math.isfinite(value) and low <= value <= high

    @property
    def range(self) -> dict[str, list[Any]]:
        """Kind and range as a space file has them."""
        values = self.choices if self.kind == "choice" else self.bounds
        return {self.kind: list(values)}

    def mapping(self) -> dict[str, Any]:
        """Plain values, as `Knob.parse` takes them back."""
        values: dict[str, Any] = {**self.range, "default": self.default}
        if self.sets != (self.name,):
            values["sets"] = list(self.sets)
        if self.when:
            values["when"] = {condition.name: list(condition.values) for condition in self.when}
        return values

    @classmethod
    def parse(cls, name: str, values: Mapping[str, Any]) -> "Knob":
        """The knob of a stored mapping.

        Raises:
            KeyError, TypeError, ValueError: not what `mapping` writes.
        """
        (kind,) = (kind for kind in KINDS if kind in values)
        given = values[kind]
        low, high = (None, None) if kind == "choice" else given
        return cls(
            name,
            kind,
            low,
            high,
            tuple(given) if kind == "choice" else (),
            values["default"],
            tuple(values.get("sets", [name])),
            tuple(Condition(key, tuple(of)) for key, of in values.get("when", {}).items()),
        )


@dataclass(frozen=True)
class Family:
    """One value of `strategy`: which strategies a trial has, and which knobs are searched.

    Attributes:
        name: the value of `strategy`.
        members: strategies of every trial of it, in order.
        slots: choices of one further member each; `none` adds nothing.
        fixed: dotted places with the value that every trial of it has.
        knobs: searched knobs, each after those that its conditions name.
    """

    name: str
    members: tuple[str, ...] = ()
    slots: tuple[Knob, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    knobs: tuple[Knob, ...] = ()

    @property
    def parameters(self) -> tuple[Knob, ...]:
        """Slots, then knobs: the order in which they are drawn."""
        return (*self.slots, *self.knobs)

    def strategies(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The strategies of a trial with these parameters; plain training where none is left."""
        drawn = (params.get(slot.name, "none") for slot in self.slots)
        names = (*self.members, *(name for name in drawn if name != "none"))
        return names or ("cross_entropy",)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """The strategies of every trial there can be."""
        names = [slot.name for slot in self.slots]
        for drawn in itertools.product(*(slot.choices for slot in self.slots)):
            yield self.strategies(dict(zip(names, drawn, strict=True)))

    def mapping(self) -> dict[str, Any]:
        """Plain values, as `Family.parse` takes them back."""
        values = {
            "members": list(self.members),
            "slots": {slot.name: slot.mapping() for slot in self.slots},
            "fixed": dict(self.fixed),
            "knobs": {knob.name: knob.mapping() for knob in self.knobs},
        }
        return {key: value for key, value in values.items() if value}

    @classmethod
    def parse(cls, name: str, values: Mapping[str, Any]) -> "Family":
        """The family of a stored mapping; raises as `Knob.parse`."""
        if not FAMILY_NAME.fullmatch(name):
            raise ValueError(f"family {name!r} has no name that a folder may have")
        return cls(
            name,
            tuple(values.get("members", ())),
            tuple(Knob.parse(key, of) for key, of in values.get("slots", {}).items()),
            dict(values.get("fixed", {})),
            tuple(Knob.parse(key, of) for key, of in values.get("knobs", {}).items()),
        )


def same(value: Any, other: Any) -> bool:
    """Equality that keeps `True` and `1` apart."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def is_range(value: Any) -> bool:
    """Whether a value of a user's is a range, such as `{uniform: [0, 1]}`, be it right or not."""
    return isinstance(value, Mapping) and any(key in KINDS for key in value)


class _Fault(AutosdError):
    """A range that cannot be; the reader adds file and key."""


def parse_range(values: Mapping[str, Any], stages: int) -> tuple[str, list[Any], bool]:
    """Kind, values, and whether a bound was symbolic, of a range such as `{uniform: [0, 1]}`.

    Raises:
        AutosdError: without file and key, which the reader adds.
    """
    kinds = [key for key in values if key in KINDS]
    if len(kinds) != 1:
        raise _Fault(f"needs exactly one kind of {', '.join(KINDS)}")
    kind, given = kinds[0], values[kinds[0]]
    if kind == "choice":
        return kind, _choices(given), False
    if not isinstance(given, list) or len(given) != 2:
        raise _Fault(f"{kind} takes [low, high], not {given!r:.60}")
    low, high = (_bound(kind, value, stages) for value in given)
    if low > high:
        raise _Fault(f"low {low} is above high {high}")
    if kind == "log_uniform" and low <= 0:
        raise _Fault(f"log_uniform needs a low above 0, not {low}")
    return kind, [low, high], any(isinstance(value, str) for value in given)


def _choices(given: Any) -> list[Any]:
    if not isinstance(given, list) or not given:
        raise _Fault(f"choice takes a list with at least one value, not {given!r:.60}")
    for position, value in enumerate(given):
        if not isinstance(value, str | int | float | bool | None):
            raise _Fault(f"a choice is a plain value, not {value!r:.60}")
        if any(same(value, other) for other in given[:position]):
            raise _Fault(f"the choice {value!r} stands twice")
    return given


def _symbolic(value: str, stages: int) -> int:
    found = SYMBOLIC.fullmatch(value.strip())
    if not found:
        raise _Fault(
            "a bound is a number, `stages`, `stages - 1` or `min(3, stages - 1)`, "
            f"not {value!r:.60}"
        )
    bound = stages - int(found["less"] or 0)
    return bound if found["most"] is None else min(int(found["most"]), bound)


def _bound(kind: str, value: Any, stages: int) -> Number:
    if isinstance(value, str):
        return _symbolic(value, stages)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Fault(f"a bound is a finite number, not {value!r:.60}")
    if kind == "integers" and not float(value).is_integer():
        raise _Fault(f"integers takes whole numbers, not {value!r}")
    return int(value) if kind == "integers" else float(value)
