"""From the files of a space to outlines: which strategies a family has, which ranges stand where.

No range is looked at here; `ranges` does that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autosd import resources, yamlfile
from autosd.errors import AutosdError
from autosd.recipe import nearest
from autosd.search.knobs import FAMILY_NAME, Condition
from autosd.search.vocabulary import Vocabulary

FORMS = ("members", "shared", "choices", "recipe", "knobs")
Block = Mapping[str, Any]


@dataclass(frozen=True)
class Raw:
    """A knob as it stands in a file.

    Attributes:
        value: a range, or the fixed value.
        where, key: file and key.
        sets: the places that receive the value.
        only: choices of members under which the knob exists.
    """

    value: Any
    where: str
    key: str
    sets: tuple[str, ...]
    only: tuple[Condition, ...] = ()

    def narrowed(self, other: "Raw") -> "Raw":
        """The knob with another range or value; default and condition stay unless given anew."""
        value = other.value
        if isinstance(value, Mapping) and isinstance(self.value, Mapping):
            kept = {key: self.value[key] for key in ("default", "when") if key in self.value}
            value = {**kept, **value}
        return replace(self, value=value, where=other.where, key=other.key)

    def fault(self, message: str) -> str:
        """A line that names file and key."""
        return f"{self.where}: {self.key}: {message}"


@dataclass
class Outline:
    """A family before any range is looked at: members, choices of members, raw knobs by name."""

    name: str
    where: str
    members: list[str]
    choices: dict[str, list[str]] = field(default_factory=dict)
    raws: dict[str, Raw] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The family's key in its file."""
        return f"strategies.{self.name}"

    @property
    def strategies(self) -> list[str]:
        """Every strategy that a trial of the family can have."""
        drawn = [name for options in self.choices.values() for name in options if name != "none"]
        return list(dict.fromkeys([*self.members, *drawn]))

    def setter(self, name: str) -> str | None:
        """The parameter that sets a place, or that is meant by a bare shared name."""
        for parameter, raw in self.raws.items():
            if name in (parameter, *raw.sets) or f"{self.name}.{name}" == parameter:
                return parameter
        return None

    def only(self, strategy: str) -> tuple[Condition, ...]:
        """The choice under which a strategy takes part; nothing for a fixed member."""
        return tuple(
            Condition(slot, (strategy,))
            for slot, options in self.choices.items()
            if strategy in options
        )


class OutlineReader:
    """Reads one space file and the files of strategies that it leans on; collects `faults`."""

    def __init__(self, path: Path, words: Vocabulary, faults: list[str]) -> None:
        self.path, self.where = path, path.name
        self.words, self.faults = words, faults
        self.entries: Block = {}

    def blocks(self) -> tuple[dict[str, Raw], Block]:
        """Raw knobs of training, and the entries of `strategies`."""
        values = yamlfile.read(self.path)
        if not isinstance(values, Mapping):
            raise AutosdError(f"{self.where}: a mapping with the key strategies is needed")
        known = ("recipe", "strategies")
        for key in values:
            if key not in known:
                close = nearest(str(key), known)
                self.fault(str(key), f"unknown key; allowed: {', '.join(known)}.{close}")
        self.entries = self.block(values.get("strategies") or {}, "strategies")
        if not self.entries:
            self.fault("strategies", "at least one family is needed")
        return self.settings(values.get("recipe") or {}, "recipe", self.where), self.entries

    def family(self, name: str, value: Any) -> Outline | None:
        """The outline of a family; None where it is no strategy and nothing composed."""
        key = f"strategies.{name}"
        if not FAMILY_NAME.fullmatch(name):
            self.fault(
                key,
                "a family's name has letters, digits, dashes, dots, plus signs and underscores, at "
                "most 64, and starts with a letter, digit or underscore",
            )
            return None
        given = {} if value is None else self.block(value, key)
        where, own = self.own_entry(name)
        if _composed(given):
            return self.composed(name, given, self.where)
        if _composed(own):
            outline = self.composed(name, own, where)
            self.further(outline, given, self.where, key)
            return outline
        if fault := self.words.strategy_fault(name):
            self.fault(key, fault)
            return None
        return Outline(name, self.where, [name], raws=self.ranges_of(name))

    def ranges_of(self, strategy: str) -> dict[str, Raw]:
        """A strategy's knobs by its own file, as this file narrows them."""
        where, own = self.own_entry(strategy)
        raws = {} if _composed(own) else _raws(strategy, own, where)
        here = self.entries.get(strategy)
        if not isinstance(here, Mapping) or _composed(here):
            return raws
        for knob, raw in _raws(strategy, here, self.where).items():
            raws[knob] = raws[knob].narrowed(raw) if knob in raws else raw
        return raws

    def own_entry(self, name: str) -> tuple[str, Block]:
        """A name's entry in `NAME.yaml`, beside this file or shipped, and which file that is."""
        for folder in (self.path.parent, resources.shipped("search_spaces")):
            file = folder / f"{name}.yaml"
            if not file.is_file():
                continue
            try:
                values = yamlfile.read(file)
            except AutosdError as error:
                self.faults.append(str(error))
                break
            entries = values.get("strategies") if isinstance(values, Mapping) else None
            entry = entries.get(name) if isinstance(entries, Mapping) else None
            if entry is not None:
                return file.name, self.block(entry, f"strategies.{name}", file.name)
        return self.where, {}

    def composed(self, name: str, entry: Block, where: str) -> Outline:
        """A family of several strategies, of choices among them, or of settings of the recipe."""
        key = f"strategies.{name}"
        for form in entry:
            if form not in FORMS:
                close = nearest(form, FORMS)
                self.fault(
                    f"{key}.{form}", f"unknown key; allowed: {', '.join(FORMS)}.{close}", where
                )
        if name in self.words.declarations:
            self.fault(key, "a composed family needs a name that no strategy has", where)
        outline = Outline(
            name, where, self.names(entry.get("members") or [], f"{key}.members", where)
        )
        for slot, options in self.block(
            entry.get("choices") or {}, f"{key}.choices", where
        ).items():
            names = self.names(options, f"{key}.choices.{slot}", where, least=1)
            outline.choices[f"{name}.{slot}"] = names
        if not outline.members and not outline.choices:
            outline.members = ["cross_entropy"]
        self.members(outline)
        knobs = self.block(entry.get("knobs") or {}, f"{key}.knobs", where)
        self.share(outline, self.block(entry.get("shared") or {}, f"{key}.shared", where), knobs)
        outline.raws |= self.settings(entry.get("recipe") or {}, f"{key}.recipe", where)
        self.further(outline, knobs, where, f"{key}.knobs")
        return outline

    def members(self, outline: Outline) -> None:
        """Give a composed family the ranges of its strategies."""
        for strategy in outline.strategies:
            if fault := self.words.strategy_fault(strategy):
                self.fault(outline.key, fault, outline.where)
                continue
            for name, raw in self.ranges_of(strategy).items():
                outline.raws[name] = replace(raw, only=outline.only(strategy))

    def share(self, outline: Outline, shared: Block, knobs: Block) -> None:
        """Replace knobs of members by one parameter that sets all of them."""
        for name, targets in shared.items():
            key = f"{outline.key}.shared.{name}"
            places = self.names(targets, key, outline.where, least=2)
            faults = [fault for place in places if (fault := self.words.knob_fault(place))]
            for fault in faults:
                self.fault(key, fault, outline.where)
            found = [raw for place in places if (raw := outline.raws.pop(place, None))]
            if not found and not faults and name not in knobs:
                self.fault(key, "none of these knobs has a range", outline.where)
            elif places and not faults:
                first = found[0] if found else Raw(None, outline.where, key, ())
                outline.raws[f"{outline.name}.{name}"] = replace(first, sets=tuple(places), only=())

    def further(self, outline: Outline, knobs: Block, where: str, key: str) -> None:
        """Put ranges or fixed values by their whole name into a composed family."""
        for name, value in knobs.items():
            place, known = f"{key}.{name}", outline.setter(name)
            if known:
                outline.raws[known] = outline.raws[known].narrowed(Raw(value, where, place, ()))
            elif fault := self.place_fault(outline, name):
                self.fault(place, fault, where)
            else:
                only = outline.only(name.split(".")[0])
                outline.raws[name] = Raw(value, where, place, (name,), only)

    def place_fault(self, outline: Outline, name: str) -> str | None:
        """Why a composed family has no such knob, or None."""
        strategy = name.split(".")[0]
        if strategy not in outline.strategies:
            close = nearest(strategy, outline.strategies)
            return f"is no knob of {', '.join(outline.strategies)}.{close}"
        return self.words.knob_fault(name)

    def settings(self, value: Any, key: str, where: str) -> dict[str, Raw]:
        """Settings of the recipe, each known and open to a search."""
        raws = {}
        for name, given in self.block(value, key, where).items():
            if fault := self.words.setting_fault(name):
                self.fault(f"{key}.{name}", fault, where)
            else:
                raws[name] = Raw(given, where, f"{key}.{name}", (name,))
        return raws

    def names(self, value: Any, key: str, where: str, least: int = 0) -> list[str]:
        """A list of names, each once."""
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.fault(key, f"a list of names is needed, not {value!r:.60}", where)
            return []
        for name in dict.fromkeys(value):
            if value.count(name) > 1:
                self.fault(key, f"{name} stands twice", where)
        if len(value) < least:
            self.fault(key, f"at least {least} needed, not {len(value)}", where)
        return list(dict.fromkeys(value))

    def block(self, value: Any, key: str, where: str | None = None) -> Block:
        """`value` where it is a mapping with text as keys, else a fault and an empty one."""
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            return value
        self.fault(key, f"a mapping is needed, not {value!r:.60}", where)
        return {}

    def fault(self, key: str, message: str, where: str | None = None) -> None:
        """Note a fault of a file."""
        self.faults.append(f"{where or self.where}: {key}: {message}")


def _raws(strategy: str, entry: Block, where: str) -> dict[str, Raw]:
    return {
        f"{strategy}.{knob}": Raw(
            value, where, f"strategies.{strategy}.{knob}", (f"{strategy}.{knob}",)
        )
        for knob, value in entry.items()
    }


def _composed(entry: Block | Sequence[str]) -> bool:
    return any(form in entry for form in FORMS)
