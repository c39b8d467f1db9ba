"""From raw ranges to knobs: kinds, bounds, defaults, conditions, each value checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autosd.errors import AutosdError
from autosd.recipe import nearest, unknown
from autosd.search.knobs import KINDS, Condition, Knob, parse_range, same
from autosd.search.outline import Raw
from autosd.search.vocabulary import Vocabulary

ALLOWED = (*KINDS, "default", "when")
_LATER, _FAULTY = object(), object()  # instead of a value: not drawn yet, could not be read


class RangeReader:
    """Reads raw knobs of a space; collects `faults`, and the overrides it has `used`."""

    def __init__(
        self,
        words: Vocabulary,
        stages: int,
        overrides: Mapping[str, Any],
        faults: list[str],
    ) -> None:
        self.words, self.stages, self.overrides, self.faults = words, stages, overrides, faults
        self.used: set[str] = set()

    def knobs(
        self, raws: Mapping[str, Raw], earlier: Sequence[Knob] = ()
    ) -> tuple[dict[str, Any], tuple[Knob, ...]]:
        """Fixed places, and the searched knobs with conditional ones after the others.

        Args:
            raws: raw knobs by parameter name.
            earlier: knobs drawn before these, which a condition may name.
        """
        raws = {name: self.overridden(name, raw) for name, raw in raws.items()}
        fixed: dict[str, Any] = {}
        knobs: dict[str, Knob] = {}
        for name, raw in raws.items():
            if not isinstance(raw.value, Mapping):
                if self.valid(raw, raw.value):
                    fixed |= dict.fromkeys(raw.sets, raw.value)
            elif "when" not in raw.value and (knob := self.knob(name, raw)):
                knobs[name] = knob
        known = {**{knob.name: knob for knob in earlier}, **knobs}
        for name, raw in raws.items():
            if isinstance(raw.value, Mapping) and "when" in raw.value:
                when = self.conditions(raw, known, {**_undrawn(raws), **fixed})
                if (knob := self.knob(name, raw)) and when is not None:
                    knobs[name] = known[name] = replace(knob, when=(*knob.when, *when))
        return fixed, tuple(knobs.values())

    def overridden(self, name: str, raw: Raw) -> Raw:
        """The raw knob with the value of an option, if one names it or a place it sets."""
        for key in (name, *raw.sets):
            if key in self.overrides:
                self.used.add(key)
                return raw.narrowed(Raw(self.overrides[key], "--set", key, ()))
        return raw

    def knob(self, name: str, raw: Raw) -> Knob | None:
        """The knob without its `when`, or None after noting what is wrong with it."""
        strange = [key for key in raw.value if key not in ALLOWED]
        for key in strange:
            close = nearest(str(key), ALLOWED)
            self.note(raw, f"unknown kind {key!r}; use {', '.join(ALLOWED)}.{close}")
        faults = [fault for place in raw.sets if (fault := self.words.place_fault(place))]
        for fault in faults:
            self.note(raw, fault)
        if strange or faults:
            return None
        try:
            kind, values, symbolic = parse_range(raw.value, self.stages)
        except AutosdError as error:
            self.note(raw, str(error))
            return None
        if not all([self.valid(raw, value) for value in _probes(kind, values)]):  # noqa: C419
            return None
        knob = Knob(name, kind, sets=raw.sets, when=raw.only)
        if kind == "choice":
            knob = replace(knob, choices=tuple(values))
        else:
            knob = replace(knob, low=values[0], high=values[1])
        return self.with_default(raw, knob, symbolic)

    def with_default(self, raw: Raw, knob: Knob, symbolic: bool) -> Knob | None:
        """The knob with its default, which must lie in the range.

        The strategy's own default yields to a bound that follows from the student's stages.
        """
        given = "default" in raw.value
        default = raw.value["default"] if given else self.words.default(raw.sets[0])
        if default is None and not knob.accepts(None):
            self.note(raw, "needs a default")
            return None
        if symbolic and not given:
            low, high = knob.bounds
            default = min(max(default, low), high)
        if not knob.accepts(default):
            whose = "the study's" if raw.sets[0] in self.words.settings else "its own default"
            fault = f"{default!r} is not in {knob.range}"
            other = f"{whose} {fault}; give another with 'default:'"
            self.note(raw, f"default {fault}" if given else other)
            return None
        if knob.kind in ("uniform", "log_uniform"):
            default = float(default)
        return replace(knob, default=default)

    def conditions(
        self, raw: Raw, knobs: Mapping[str, Knob], fixed: Mapping[str, Any]
    ) -> tuple[Condition, ...] | None:
        """The conditions that a trial decides; None where the knob can never exist."""
        when = raw.value["when"]
        if not isinstance(when, Mapping) or not when:
            self.note(raw, f"when: a mapping such as {{teacher: ema}} is needed, not {when!r:.60}")
            return None
        decided = []
        for key, wanted in when.items():
            values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
            name = self.named(raw, str(key))
            if name is None:
                continue
            value = fixed.get(name, self.words.default(name))
            if name in knobs:
                decided.append(self.condition(raw, str(key), knobs[name], values))
            elif value is _LATER:
                self.note(raw, f"when: {key} must stand before it, without a circle")
            elif value is _FAULTY or not any(same(value, each) for each in values):
                return None
        return tuple(condition for condition in decided if condition)

    def condition(
        self, raw: Raw, key: str, knob: Knob, values: tuple[Any, ...]
    ) -> Condition | None:
        strange = [value for value in values if not knob.accepts(value)]
        for value in strange:
            self.note(raw, f"when: {key} is never {value!r}; it is {knob.range}")
        return None if strange else Condition(knob.name, values)

    def named(self, raw: Raw, key: str) -> str | None:
        """The place that a key of `when` means: a knob of the same strategy, or a whole name."""
        strategy = raw.sets[0].split(".")[0]
        if key in self.words.knobs(strategy):
            return f"{strategy}.{key}"
        if key in self.words.settings or self.words.knob_fault(key) is None:
            return key
        known = self.words.knobs(strategy) or self.words.settings
        self.note(raw, f"when: {unknown('knob', key, known)}")
        return None

    def valid(self, raw: Raw, value: Any) -> bool:
        """Whether every place takes this value; what does not is noted."""
        faults = [fault for place in raw.sets if (fault := self.words.value_fault(place, value))]
        for fault in faults:
            self.note(raw, fault)
        return not faults

    def note(self, raw: Raw, message: str) -> None:
        """Note a fault of a knob."""
        self.faults.append(raw.fault(message))


def _undrawn(raws: Mapping[str, Raw]) -> dict[str, object]:
    """What stands for searched knobs that are not known."""
    searched = {name: raw.value for name, raw in raws.items() if isinstance(raw.value, Mapping)}
    return {name: _LATER if "when" in value else _FAULTY for name, value in searched.items()}


def _probes(kind: str, values: Sequence[Any]) -> Iterator[Any]:
    """Values that must be valid for a range to be: its choices or bounds, and one between."""
    yield from values
    if kind in ("uniform", "log_uniform") and values[0] < values[1]:
        yield values[0] + (values[1] - values[0]) * 0.381966
