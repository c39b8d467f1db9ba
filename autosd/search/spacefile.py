"""Reading a space file: grammar and checks. All faults of a file are reported together.

```yaml
recipe:                                      # knobs of training, or values that the space fixes
  optimizer.lr: {log_uniform: [0.03, 0.3], default: 0.1}
strategies:                                  # the families
  cross_entropy:
  masd:                                      # ranges of masd.yaml, beside this file or shipped
  rskd: {residual_layers: 2}                 # the same, one knob fixed
  toast: {temperature: {uniform: [2, 5]}}    # the same, one range narrowed
  lightskd: {members: [drg, dsr], shared: {temperature: [drg.temperature, dsr.temperature]}}
  ema: {recipe: {average.kind: ema}}         # a setting of the recipe
  compose_mixed: {choices: {input: [mixup, cutmix], target: [none, label_smoothing]}}
```

Kinds are `uniform`, `log_uniform`, `integers` and `choice`; `default:` is the strategy's own
unless given; `when: {teacher: ema}` makes a knob exist only then; a bound may be `stages` or
`stages - 1`. A composed family takes further knobs under `knobs:` by their whole name.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from autosd import resources, yamlfile
from autosd.errors import AutosdError
from autosd.recipe import Recipe, nearest, set_values, unknown
from autosd.search.knobs import STRATEGY, Condition, Family, Knob, parse_range, same

FORMS = ("members", "shared", "choices", "recipe", "knobs")
SEARCHABLE = ("optimizer", "schedule", "augment", "average", "batch_size", "class_weights")
MOST_COMBINATIONS = 100_000


class Declaration(Protocol):
    """What a space needs to know of a strategy."""

    Knobs: type[BaseModel]


Combine = Callable[[Sequence[str]], None]
Parts = tuple[tuple[Family, ...], tuple[Knob, ...], Mapping[str, Any]]


@dataclass(frozen=True)
class Raw:
    """A knob as it stands in a file: `value` at `key` of the file `where`."""

    value: Any
    where: str
    key: str
    sets: tuple[str, ...]
    only: tuple[Condition, ...] = ()

    def fault(self, message: str) -> str:
        """A line that names file and key."""
        return f"{self.where}: {self.key}: {message}"


@dataclass
class Outline:
    """A family as it stands in files, before any range is looked at."""

    name: str
    where: str
    members: list[str]
    choices: dict[str, list[str]] = field(default_factory=dict)
    raws: dict[str, Raw] = field(default_factory=dict)


def read_parts(
    path: Path | str,
    declarations: Mapping[str, Declaration],
    combine: Combine,
    overrides: Mapping[str, Any],
    stages: int,
) -> Parts:
    """Families, knobs of training and fixed places of a space file; see `Space.read`."""
    file = resources.find("search_spaces", str(path))
    return _Reader(file, declarations, combine, dict(overrides), stages).parts()


class _Reader:
    """One reading of one file; `faults` collects everything that is wrong with it."""

    def __init__(
        self,
        path: Path,
        declarations: Mapping[str, Declaration],
        combine: Combine,
        overrides: dict[str, Any],
        stages: int,
    ) -> None:
        self.path, self.where = path, path.name
        self.declarations, self.combine = declarations, combine
        self.overrides, self.stages = overrides, stages
        self.faults: list[str] = []
        self.used: set[str] = set()

    def parts(self) -> Parts:
        training, entries = self.blocks()
        fixed, knobs = self.knobs(self.training(training), {})
        families = tuple(
            family for name, value in entries.items() if (family := self.family(name, value, knobs))
        )
        self.check_names(families, knobs)
        self.check_overrides(families)
        if self.faults:
            raise AutosdError("\n".join(dict.fromkeys(self.faults)))
        return families, tuple(knobs), fixed

    def blocks(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The blocks `recipe` and `strategies` of the file."""
        values = yamlfile.read(self.path)
        if not isinstance(values, Mapping):
            raise AutosdError(f"{self.where}: a mapping with the key strategies is needed")
        for key in values:
            if key not in ("recipe", "strategies"):
                close = nearest(str(key), ("recipe", "strategies"))
                self.faults.append(
                    f"{self.where}: {key}: unknown key; allowed: recipe, strategies.{close}"
                )
        training = self.block(values.get("recipe") or {}, "recipe")
        entries = self.block(values.get("strategies") or {}, "strategies")
        if not entries:
            self.faults.append(f"{self.where}: strategies: at least one family is needed")
        return training, entries

    def block(self, value: Any, key: str, where: str | None = None) -> Mapping[str, Any]:
        """`value` where it is a mapping with text as keys, else a fault and nothing."""
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            return value
        self.faults.append(f"{where or self.where}: {key}: a mapping is needed, not {value!r:.60}")
        return {}

    # The outline of a family: which strategies, and which raw ranges from which file.

    def family(self, name: str, value: Any, training: Sequence[Knob]) -> Family | None:
        """A family, or None where nothing can be made of it."""
        outline = self.outline(name, value)
        if outline is None or not self.check_members(outline):
            return None
        slots = self.slots(outline)
        fixed, knobs = self.knobs(outline.raws, {knob.name: knob for knob in (*training, *slots)})
        self.check_combinations(outline)
        return Family(name, tuple(outline.members), slots, fixed, tuple(knobs))

    def outline(self, name: str, value: Any) -> Outline | None:
        where, own = self.own_entry(name)
        key = f"strategies.{name}"
        given = {} if value is None else self.block(value, key)
        if _composed(given):
            return self.composed(name, given, self.where)
        if own is not None and _composed(own):
            outline = self.composed(name, own, where)
            prefixed = {k if "." in k else f"{name}.{k}": of for k, of in given.items()}
            return self.merge(outline, prefixed, self.where, key)
        if name not in self.declarations:
            self.faults.append(
                f"{self.where}: {key}: " + unknown("strategy", name, self.declarations)
            )
            return None
        raws = {**self.ranges(name), **self.raws(name, given, self.where)}
        return Outline(name, self.where, [name], raws=raws)

    def own_entry(self, name: str) -> tuple[str, Mapping[str, Any] | None]:
        """Where a name is defined, and its entry there: `NAME.yaml` beside this file or shipped."""
        for folder in (self.path.parent, resources.shipped("search_spaces")):
            file = folder / f"{name}.yaml"
            if file.is_file() and file.resolve() != self.path.resolve():
                try:
                    values = yamlfile.read(file)
                except AutosdError as error:
                    self.faults.append(str(error))
                    return file.name, None
                entries = values.get("strategies") if isinstance(values, Mapping) else None
                entry = entries.get(name) if isinstance(entries, Mapping) else None
                if isinstance(entry, Mapping):
                    return file.name, self.block(entry, f"strategies.{name}", file.name)
        return self.where, None

    def ranges(self, strategy: str) -> dict[str, Raw]:
        """The ranges of a strategy's own file by parameter name."""
        where, own = self.own_entry(strategy)
        return {} if own is None or _composed(own) else self.raws(strategy, own, where)

    def raws(self, strategy: str, entry: Mapping[str, Any], where: str) -> dict[str, Raw]:
        return {
            (name := f"{strategy}.{knob}"): Raw(value, where, f"strategies.{name}", (name,))
            for knob, value in entry.items()
        }

    def composed(self, name: str, entry: Mapping[str, Any], where: str) -> Outline:
        """A family of several strategies, or of settings of the recipe."""
        key = f"strategies.{name}"
        for form in entry:
            if form not in FORMS:
                self.faults.append(
                    f"{where}: {key}.{form}: unknown key; allowed: {', '.join(FORMS)}."
                    + nearest(form, FORMS)
                )
        if name in self.declarations:
            self.faults.append(f"{where}: {key}: a composed family needs a name of its own")
        outline = Outline(
            name, where, self.names(entry.get("members", []), f"{key}.members", where)
        )
        choices = self.block(entry.get("choices") or {}, f"{key}.choices", where)
        for slot, options in choices.items():
            place = f"{key}.choices.{slot}"
            outline.choices[f"{name}.{slot}"] = self.names(options, place, where)
        if not outline.members and not outline.choices:
            outline.members = ["cross_entropy"]
        for member in outline.members:
            outline.raws |= self.ranges(member)
        for slot, options in outline.choices.items():
            for option in options:
                only = (Condition(slot, (option,)),)
                ranges = self.ranges(option) if option in self.declarations else {}
                outline.raws |= {
                    knob: Raw(raw.value, raw.where, raw.key, raw.sets, only)
                    for knob, raw in ranges.items()
                }
        self.share(outline, self.block(entry.get("shared") or {}, f"{key}.shared", where))
        settings = self.block(entry.get("recipe") or {}, f"{key}.recipe", where)
        outline.raws |= self.settings(settings, f"{key}.recipe", where)
        knobs = self.block(entry.get("knobs") or {}, f"{key}.knobs", where)
        return self.merge(outline, knobs, where, f"{key}.knobs")

    def names(self, value: Any, key: str, where: str) -> list[str]:
        """A list of strategies, each known and named once."""
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.faults.append(f"{where}: {key}: a list of strategies is needed, not {value!r:.60}")
            return []
        if key.rpartition(".")[2] != "members" and not value:
            self.faults.append(f"{where}: {key}: at least one strategy is needed")
        for name in dict.fromkeys(value):
            if value.count(name) > 1:
                self.faults.append(f"{where}: {key}: {name} stands twice")
        return list(dict.fromkeys(value))

    def share(self, outline: Outline, shared: Mapping[str, Any]) -> None:
        """Replace knobs of members by one that sets all of them."""
        for name, targets in shared.items():
            key = f"strategies.{outline.name}.shared.{name}"
            names = self.names(targets, key, outline.where)
            known = [self.knob_fault(target) for target in names]
            self.faults += [f"{outline.where}: {key}: {fault}" for fault in known if fault]
            found = [raw for target in names if (raw := outline.raws.pop(target, None))]
            if found:
                first = found[0]
                parameter = f"{outline.name}.{name}"
                outline.raws[parameter] = Raw(
                    first.value, first.where, first.key, tuple(names), first.only
                )
            elif names and not any(known):
                self.faults.append(f"{outline.where}: {key}: none of its knobs has a range")

    def merge(self, outline: Outline, knobs: Mapping[str, Any], where: str, key: str) -> Outline:
        """Put further knobs, by their whole name, into a composed family."""
        for name, value in knobs.items():
            earlier = outline.raws.get(name) or outline.raws.get(f"{outline.name}.{name}")
            place = f"{key}.{name.removeprefix(f'{outline.name}.')}"
            if earlier:
                full = name if name in outline.raws else f"{outline.name}.{name}"
                outline.raws[full] = Raw(value, where, place, earlier.sets, earlier.only)
            elif fault := self.knob_fault(name):
                self.faults.append(f"{where}: {place}: {fault}")
            else:
                outline.raws[name] = Raw(value, where, place, (name,), self.only(outline, name))
        return outline

    def only(self, outline: Outline, knob: str) -> tuple[Condition, ...]:
        """Under which choice a member of a composed family takes part; none for a fixed member."""
        member = knob.split(".")[0]
        return tuple(
            Condition(slot, (member,)) for slot, of in outline.choices.items() if member in of
        )

    def training(self, block: Mapping[str, Any]) -> dict[str, Raw]:
        return self.settings(block, "recipe", self.where)

    def settings(self, block: Mapping[str, Any], key: str, where: str) -> dict[str, Raw]:
        """Places of the recipe, each known and open to a search."""
        places = _places()
        raws = {}
        for name, value in block.items():
            if name in places:
                raws[name] = Raw(value, where, f"{key}.{name}", (name,))
            else:
                self.faults.append(f"{where}: {key}.{name}: " + _not_searchable(name, places))
        return raws

    def slots(self, outline: Outline) -> tuple[Knob, ...]:
        """The choices of members of a composed family; the first one is the default."""
        return tuple(
            Knob(name, "choice", choices=tuple(options), default=options[0])
            for name, options in outline.choices.items()
            if options
        )

    # From raw ranges to knobs.

    def knobs(
        self, raws: Mapping[str, Raw], earlier: Mapping[str, Knob]
    ) -> tuple[dict[str, Any], list[Knob]]:
        """Fixed places, and the searched knobs with the conditional ones last."""
        raws = {name: self.overridden(name, raw) for name, raw in raws.items()}
        fixed: dict[str, Any] = {}
        knobs: dict[str, Knob] = {}
        later = []
        for name, raw in raws.items():
            if isinstance(raw.value, Mapping) and "when" in raw.value:
                later.append((name, raw))
            elif isinstance(raw.value, Mapping):
                self.add(knobs, name, raw, raw.only)
            elif self.valid(raw, raw.value):
                fixed |= dict.fromkeys(raw.sets, raw.value)
        known = {**earlier, **knobs}
        for name, raw in later:
            conditions = self.conditions(raw, known, fixed)
            if conditions is not None:
                self.add(knobs, name, raw, (*raw.only, *conditions))
        return fixed, list(knobs.values())

    def overridden(self, name: str, raw: Raw) -> Raw:
        """The raw knob with the value of an option, if one names it or a place it sets."""
        for key in (name, *raw.sets):
            if key in self.overrides:
                self.used.add(key)
                return Raw(self.overrides[key], "--set", key, raw.sets, raw.only)
        return raw

    def add(self, knobs: dict[str, Knob], name: str, raw: Raw, when: tuple[Condition, ...]) -> None:
        """Check a range and its default, and add the knob."""
        if knob := self.knob(name, raw, when):
            knobs[name] = knob

    def knob(self, name: str, raw: Raw, when: tuple[Condition, ...]) -> Knob | None:
        allowed = ("uniform", "log_uniform", "integers", "choice", "default", "when")
        strange = [key for key in raw.value if key not in allowed]
        if strange:
            self.faults += [
                raw.fault(
                    f"unknown kind {key!r}; use {', '.join(allowed)}.{nearest(str(key), allowed)}"
                )
                for key in strange
            ]
            return None
        try:
            kind, values, symbolic = parse_range(raw.value, self.stages)
        except AutosdError as error:
            self.faults.append(raw.fault(str(error)))
            return None
        if not all([self.valid(raw, value) for value in _probes(kind, values)]):
            return None
        low, high = (None, None) if kind == "choice" else values
        choices = tuple(values) if kind == "choice" else ()
        knob = Knob(name, kind, low, high, choices, None, raw.sets, when)
        return self.with_default(raw, knob, symbolic)

    def with_default(self, raw: Raw, knob: Knob, symbolic: bool) -> Knob | None:
        """The knob with its default, which must lie in the range."""
        given = "default" in raw.value
        default = raw.value["default"] if given else self.own_default(knob.sets[0])
        if symbolic and not given and isinstance(default, int | float):
            low, high = knob.bounds
            default = min(max(default, low), high)
        if default is None and not knob.accepts(None):
            self.faults.append(raw.fault("needs a default"))
            return None
        if not knob.accepts(default):
            whose = "default" if given else "the strategy's own default"
            self.faults.append(raw.fault(f"{whose} {default!r} is not in {knob.range}"))
            return None
        return Knob(
            knob.name, knob.kind, knob.low, knob.high, knob.choices, default, knob.sets, knob.when
        )

    def own_default(self, place: str) -> Any:
        """The default of a strategy's knob or of a place of the recipe; None where it has none."""
        strategy, _, knob = place.partition(".")
        if strategy in self.declarations and strategy not in Recipe.model_fields:
            field_ = self.declarations[strategy].Knobs.model_fields.get(knob)
            return (
                None
                if field_ is None or field_.is_required()
                else field_.get_default(call_default_factory=True, validated_data={})
            )
        return _places().get(place)

    def conditions(
        self, raw: Raw, knobs: Mapping[str, Knob], fixed: Mapping[str, Any]
    ) -> tuple[Condition, ...] | None:
        """The conditions that a trial decides; None where the knob can never exist."""
        prefix = raw.sets[0].split(".")[0]
        decided: list[Condition] = []
        for key, wanted in self.block(raw.value["when"], f"{raw.key}.when", raw.where).items():
            values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
            name = self.condition_name(key, prefix)
            if name is None:
                self.faults.append(raw.fault(f"when: {self.condition_fault(key, prefix)}"))
            elif name in knobs:
                possible = tuple(value for value in values if knobs[name].accepts(value))
                if not possible:
                    self.faults.append(
                        raw.fault(f"when: {key} is never {values[0]!r}; it is {knobs[name].range}")
                    )
                decided.append(Condition(name, possible))
            elif not any(same(fixed.get(name, self.own_default(name)), of) for of in values):
                return None
        return tuple(decided)

    def condition_name(self, key: str, strategy: str) -> str | None:
        """The parameter that a key of `when` names: a knob of the same strategy, or a place."""
        if strategy in self.declarations and key in self.declarations[strategy].Knobs.model_fields:
            return f"{strategy}.{key}"
        return key if key in _places() or self.knob_fault(key) is None else None

    def condition_fault(self, key: str, strategy: str) -> str:
        if strategy in self.declarations:
            return unknown(
                f"knob of {strategy}", key, self.declarations[strategy].Knobs.model_fields
            )
        return unknown("setting of a recipe", key, _places())

    # Checks of names, values and combinations.

    def knob_fault(self, name: str) -> str | None:
        """Why `strategy.knob` does not exist, or None."""
        strategy, _, knob = name.partition(".")
        if strategy not in self.declarations:
            return unknown("strategy", strategy, self.declarations)
        if knob not in self.declarations[strategy].Knobs.model_fields:
            return unknown(
                f"knob of {strategy}", knob, self.declarations[strategy].Knobs.model_fields
            )
        return None

    def valid(self, raw: Raw, value: Any) -> bool:
        """Whether every place takes this value; a fault where one does not."""
        faults = [fault for place in raw.sets if (fault := self.value_fault(place, value))]
        self.faults += [raw.fault(fault) for fault in faults]
        return not faults

    def value_fault(self, place: str, value: Any) -> str | None:
        if place in _places():
            try:
                Recipe.parse(set_values({"data": "digits"}, {place: value}), "value")
            except AutosdError as error:
                return str(error).removeprefix(f"value: {place}: ")
            return None
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

    def check_members(self, outline: Outline) -> bool:
        """Whether every strategy of a family exists."""
        names = [*outline.members, *(name for of in outline.choices.values() for name in of)]
        strange = [name for name in names if name not in {"none", *self.declarations}]
        self.faults += [
            f"{outline.where}: strategies.{outline.name}: "
            + unknown("strategy", name, self.declarations)
            for name in dict.fromkeys(strange)
        ]
        return not strange

    def check_combinations(self, outline: Outline) -> None:
        """Refuse a family with the first combination of strategies that exclude each other."""
        slots = [[name] for name in outline.members] + list(outline.choices.values())
        for count, drawn in enumerate(itertools.product(*slots)):
            names = [name for name in drawn if name != "none"]
            try:
                if count >= MOST_COMBINATIONS:
                    raise AutosdError(f"more than {MOST_COMBINATIONS} combinations of strategies")
                if len(set(names)) < len(names):
                    raise AutosdError(f"one strategy stands in two choices: {', '.join(names)}")
                self.combine(names or ["cross_entropy"])
            except AutosdError as error:
                self.faults.append(f"{outline.where}: strategies.{outline.name}: {error}")
                return

    def check_names(self, families: Sequence[Family], training: Sequence[Knob]) -> None:
        """One parameter name has one distribution in the whole study."""
        first = {knob.name: (knob, "recipe") for knob in training}
        for family in families:
            for knob in family.parameters:
                other, owner = first.setdefault(knob.name, (knob, family.name))
                if other.range != knob.range:
                    self.faults.append(
                        f"{self.where}: strategies.{family.name}: {knob.name} has {knob.range} here "
                        f"and {other.range} in {owner}; one name has one range in a study"
                    )

    def check_overrides(self, families: Sequence[Family]) -> None:
        """Fix what an option names and no range has; refuse what does not exist."""
        for key in self.overrides.keys() - self.used:
            if key.split(".")[0] in Recipe.model_fields:
                continue
            self.faults.append(f"--set: {key}: {self.override_fault(key, families)}")

    def override_fault(self, key: str, families: Sequence[Family]) -> str:
        names = _searched(families)
        return self.knob_fault(key) or unknown("parameter of this space", key, names)


def _searched(families: Sequence[Family]) -> list[str]:
    return sorted({STRATEGY, *(knob.name for family in families for knob in family.parameters)})


def _composed(entry: Mapping[str, Any]) -> bool:
    return any(form in entry for form in FORMS)


def _probes(kind: str, values: Sequence[Any]) -> Iterator[Any]:
    """Values that must be valid for a range to be: its choices or bounds, and one between."""
    yield from values
    if kind in ("uniform", "log_uniform") and values[0] < values[1]:
        yield values[0] + (values[1] - values[0]) * 0.381966


def _places() -> dict[str, Any]:
    """Dotted places of a recipe that may be searched, with their defaults."""
    values = Recipe.parse({"data": "digits"}).mapping()
    places: dict[str, Any] = {}
    for name in SEARCHABLE:
        value = values[name]
        if isinstance(value, Mapping):
            places |= {f"{name}.{key}": of for key, of in value.items()}
        else:
            places[name] = value
    return places


def _not_searchable(name: str, places: Mapping[str, Any]) -> str:
    if name.split(".")[0] in set(Recipe.model_fields) - set(SEARCHABLE):
        return f"is decided by the study, not by a space; searchable: {', '.join(SEARCHABLE)}"
    return unknown("setting of a recipe", name, places)
