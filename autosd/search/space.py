"""A space: which recipes a study may try. Families of strategies, each with its own knobs.

Parameter names are `strategy` (the family), the place in the recipe for knobs of training
(`optimizer.lr`), and strategy and knob for the rest (`masd.mask_ratio`). Names and distributions
are fixed for the life of a study. The grammar of a space file stands in `spacefile`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.recipe import Recipe, fingerprint, set_values, unknown
from autosd.search.knobs import STRATEGY, Family, Knob, Suggest
from autosd.search.spacefile import read_parts
from autosd.search.vocabulary import Declarations, Vocabulary


@dataclass(frozen=True)
class Space:
    """Families in the order of the file, and the knobs of training that all of them share.

    Attributes:
        members: the families.
        training: searched knobs of the recipe outside its strategies.
        fixed: dotted places of the recipe that the space fixes.
    """

    members: tuple[Family, ...]
    training: tuple[Knob, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        path: Path | str,
        declarations: Declarations,
        combine: Callable[[Sequence[str]], None],
        overrides: Mapping[str, Any] | None = None,
        *,
        stages: int,
        base: Recipe | None = None,
    ) -> "Space":
        """Read a space by path or by the name of a shipped one, and check all of it.

        Args:
            path: a file, or a name such as `joint`.
            declarations: strategies by name, each with its `Knobs`.
            combine: raises `AutosdError` for strategies that exclude each other.
            overrides: parameter name -> value or range, as given by `--set`; a value fixes the
                parameter. Values of the recipe that the space does not search are left alone;
                a range makes the space search them.
            stages: number of feature maps of the student, for bounds such as `stages - 1`.
            base: recipe of the study; its values are the defaults of settings that have no other.

        Raises:
            AutosdError: one line per fault, all of them together, each with file and key.
        """
        words = Vocabulary(declarations, base)
        families, training, fixed = read_parts(path, words, combine, overrides or {}, stages)
        return cls(families, training, fixed)

    @classmethod
    def load(cls, path: Path) -> "Space":
        """Read what `mapping` gave, from a study folder; needs no other file and no strategy.

        Raises:
            AutosdError: not a stored space.
        """
        return cls.parse(yamlfile.read(path), str(path))

    @classmethod
    def parse(cls, values: Any, where: str = "space") -> "Space":
        """The space of a stored mapping; see `load`."""
        try:
            training = values.get("training", {})
            return cls(
                tuple(Family.parse(name, of or {}) for name, of in values["families"].items()),
                tuple(Knob.parse(name, of) for name, of in training.get("knobs", {}).items()),
                dict(training.get("fixed", {})),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = str(error)[:120] if isinstance(error, ValueError) else "its form is another"
            raise AutosdError(
                f"{where}: not a stored space ({why}); take it from a copy of the study, "
                "or start the study anew under another name"
            ) from None

    def mapping(self) -> dict[str, Any]:
        """Plain values with everything resolved, as `parse` takes them back."""
        training = {
            "knobs": {knob.name: knob.mapping() for knob in self.training},
            "fixed": dict(self.fixed),
        }
        return {
            "training": {key: value for key, value in training.items() if value},
            "families": {family.name: family.mapping() for family in self.members},
        }

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of families, names, distributions and defaults; no order of keys."""
        return fingerprint(self.mapping())

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families in the order of the file."""
        return tuple(family.name for family in self.members)

    def family(self, name: str) -> Family:
        """A family by name."""
        for family in self.members:
            if family.name == name:
                return family
        raise AutosdError(unknown("family of this space", name, self.families))

    def knobs(self, family: str) -> tuple[Knob, ...]:
        """Everything drawn in a trial of `family` beside `strategy`, in the order of drawing."""
        return (*self.training, *self.family(family).parameters)

    def parameters(self) -> dict[str, Knob]:
        """Every parameter of the space by name, except `strategy`."""
        return {knob.name: knob for name in self.families for knob in self.knobs(name)}

    def define(self, trial: Suggest, base: Recipe) -> Recipe:
        """Draw a trial's parameters and build its recipe from `base`."""
        family = trial.suggest_categorical(STRATEGY, tuple(sorted(self.families)))
        params: dict[str, Any] = {STRATEGY: family}
        for knob in self.knobs(family):
            if knob.active(params):
                params[knob.name] = knob.suggest(trial)
        return self.recipe(params, base)

    def recipe(self, params: Mapping[str, Any], base: Recipe) -> Recipe:
        """The recipe that these parameters stand for: `base` with their values in place."""
        family = self.family(params[STRATEGY])
        places = {**self.fixed, **family.fixed}
        for knob in self.knobs(family.name):
            if knob.name in params:
                places |= dict.fromkeys(knob.sets, params[knob.name])
        settings = {key: value for key, value in places.items() if _of_recipe(key)}
        names = family.strategies(params)
        values = set_values(base.mapping(), settings)
        values["strategies"] = [{name: _knobs_of(name, places)} for name in names]
        return Recipe.parse(values, f"recipe of {family.name}")

    def strategies(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The strategies of a trial with these parameters; empty before its family is drawn."""
        return self.family(params[STRATEGY]).strategies(params) if STRATEGY in params else ()

    def default_params(self, family: str, drawn: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The published default of a family as parameters of a trial.

        Args:
            family: its name.
            drawn: parameters with another value than their default; knobs that exist only with
                these have their defaults.
        """
        params: dict[str, Any] = {STRATEGY: family}
        for knob in self.knobs(family):
            if knob.active(params):
                params[knob.name] = (drawn or {}).get(knob.name, knob.default)
        return params

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Refuse parameters that a trial of this space could not have drawn.

        Optuna would use a value out of range with a warning, and leave a trial running for ever
        where a category is unknown.
        """
        family = self.family(str(params.get(STRATEGY)))
        knobs = {knob.name: knob for knob in self.knobs(family.name) if knob.active(params)}
        faults = [
            f"{name}: {params[name]!r} is not in {knob.range}"
            for name, knob in knobs.items()
            if name in params and not knob.accepts(params[name])
        ]
        faults += [f"{name}: is missing" for name in knobs if name not in params]
        faults += [
            unknown("parameter", name, knobs) for name in params if name not in {STRATEGY, *knobs}
        ]
        if faults:
            raise AutosdError(
                "\n".join(f"parameters of {family.name}: {fault}" for fault in faults)
            )

    def describe(self) -> dict[str, Any]:
        """The size of the space: knobs per family, those of training, and all parameters."""
        return {
            "families": {family.name: len(family.parameters) for family in self.members},
            "training": [knob.name for knob in self.training],
            "parameters": len(self.parameters()) + 1,
        }


def _of_recipe(place: str) -> bool:
    return place.split(".")[0] in Recipe.model_fields


def _knobs_of(strategy: str, places: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{strategy}."
    return {key.removeprefix(prefix): of for key, of in places.items() if key.startswith(prefix)}
