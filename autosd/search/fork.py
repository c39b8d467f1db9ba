"""A new study from the finished trials of another one that it could have run itself (rule R9).

A study's definition never changes. Who wants another space, or goes on with other code, begins a
new study that takes over every trial whose recipe is the same in both. Here stands which ones those
are; `forked` copies them.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from autosd.errors import AutosdError
from autosd.recipe import Recipe, StudyDefinition
from autosd.search import census, code, forked, ledger, origin
from autosd.search.changed import flat
from autosd.search.inverse import params_of
from autosd.search.knobs import STRATEGY
from autosd.search.ready import Ready
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close, study_path
from autosd.search.vocabulary import Declarations
from autosd.strategies.strategy import discover

MOST_PLACES = 2


@dataclass(frozen=True)
class Fitting:
    """A finished trial that the new study could have run itself.

    Attributes:
        trial: of the old study.
        params, distributions: as the new study has them.
        recipe: what was trained.
    """

    trial: FrozenTrial
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    recipe: Recipe


@dataclass(frozen=True)
class Plan:
    """What a fork takes over.

    Attributes:
        source: the old study.
        fitting: trials that are copied, in order of number.
        left: why others are not -> how many of them.
        code: what of the code is another one than when they were trained, one per line.
    """

    source: StudyFolder
    fitting: Sequence[Fitting]
    left: Mapping[str, int]
    code: Sequence[str] = ()

    def mapping(self) -> dict[str, Any]:
        """As `fork.json` and the JSON of `autosd search` have it."""
        return {
            "study": self.source.name,
            "copied": len(self.fitting),
            "left": [{"reason": reason, "trials": n} for reason, n in self.left.items()],
            "code": list(self.code),
        }


def planned(ready: Ready, root: Path, source: str | None, storage: str | None) -> Plan | None:
    """What the study takes over from another one before its first trial; None for nothing.

    Args:
        ready: from `check`, under the name of the new study.
        root: the folder of studies.
        source: the other study; None: that of a fork which was cut, if there is one.
        storage: where both are, if the other one is in a server.

    Raises:
        AutosdError: no such study, or nothing of it fits.
    """
    found = forked.asked(root, ready.definition.name, source)
    if found is None:
        return None
    path = study_path(root, found)
    kept = storage if path.is_dir() and origin.recorded(path).get("url") else None
    with forked.source_of(root, ready.definition.name):
        old = StudyFolder.find(found, root, storage=kept)
    return _plan(old, ready.definition, ready.space, ready.data.fingerprint, discover())


def _plan(
    source: StudyFolder,
    definition: StudyDefinition,
    space: Space,
    data: str,
    declarations: Declarations,
) -> Plan:
    """Which trials of a study fit another definition, and why the others do not.

    Args:
        source: the old study; it may be running.
        definition, space: of the new study.
        data: fingerprint of the new study's data and their division.
        declarations: strategies by name, each with its `Knobs`.

    Raises:
        AutosdError: not a single one fits; every reason with the number of trials.
    """
    study = source.load()
    try:
        finished = list(_finished(study))
    finally:
        close(study)
    match = _Match(source, definition, space, declarations)
    apart = list(_apart(source, definition, data))
    fitting: list[Fitting] = []
    left: Counter[str] = Counter()
    for trial in finished:
        found = None if apart else match.fitting(trial)
        if found is None:
            left["; ".join(apart) or match.reason(trial)] += 1
        else:
            fitting.append(found)
    if not fitting:
        raise _nothing_fits(source, definition.name, left)
    other = code.changed(source.path, definition.recipe.model.name)
    return Plan(source, fitting, dict(left.most_common()), other)


class _Match:
    """An old study against a new definition."""

    def __init__(
        self,
        source: StudyFolder,
        definition: StudyDefinition,
        space: Space,
        declarations: Declarations,
    ) -> None:
        old = source.definition
        self.old_space, self.old_base = source.space, old.recipe.with_seed(old.seed)
        self.space, self.base = space, definition.recipe.with_seed(definition.seed)
        self.declarations = declarations

    def fitting(self, trial: FrozenTrial) -> Fitting | None:
        """The trial as one of the new study, None where its recipe is none of it."""
        recipe = self.old_space.recipe(trial.params, self.old_base)
        params = self._params(trial.params, recipe)
        if params is None:
            return None
        drawn = optuna.trial.FixedTrial(params)
        made = self.space.define(drawn, self.base)
        return Fitting(trial, params, drawn.distributions, made)

    def _params(self, params: dict[str, Any], recipe: Recipe) -> dict[str, Any] | None:
        """The same parameters if they will do, else others that stand for the same recipe."""
        with contextlib.suppress(AutosdError):
            self.space.check_params(params)
            if self.space.recipe(params, self.base) == recipe:
                return params
        with contextlib.suppress(AutosdError):
            return params_of(self.space, recipe, self.base, self.declarations)
        return None

    def reason(self, trial: FrozenTrial) -> str:
        """Why a trial does not fit, the same words for all that do not fit for one reason."""
        params = trial.params
        family = params[STRATEGY]
        if family not in self.space.families:
            return f"family {family} is not in the space"
        knobs = {knob.name: knob for knob in self.space.knobs(family) if knob.active(params)}
        outside = [n for n, knob in knobs.items() if n in params and not knob.accepts(params[n])]
        if outside:
            return f"{', '.join(outside)} outside its range"
        gone = [name for name in params if name not in (STRATEGY, *knobs)]
        if gone:
            return f"{', '.join(gone)} has one value now, which is another"
        return ", ".join(self._other(params)) or f"settings of {family} are others"

    def _other(self, params: dict[str, Any]) -> list[str]:
        """Places of the recipe beside its strategies that are others."""
        old = flat(self.old_space.recipe(params, self.old_base).mapping())
        drawn = self.space.default_params(params[STRATEGY], params)
        new = flat(self.space.recipe(drawn, self.base).mapping())
        return [
            f"{place}: {old.get(place)!r} there, {new.get(place)!r} asked for"
            for place in dict.fromkeys([*old, *new])
            if place != "strategies" and old.get(place) != new.get(place)
        ][:MOST_PLACES]


def _finished(study: optuna.Study) -> Iterator[FrozenTrial]:
    """Trials that ended with a result, or with that of having diverged."""
    found = ledger.trials(study)
    gone = census.superseded(found)
    for trial in found:
        told = trial.state in ledger.FINISHED and "duplicate_of" not in trial.user_attrs
        if told and trial.number not in gone:
            yield trial


def _apart(source: StudyFolder, definition: StudyDefinition, data: str) -> Iterator[str]:
    """What makes no trial of one study comparable with one of the other."""
    old = source.definition
    if old.objective != definition.objective:
        yield f"objective: {old.objective!r} there, {definition.objective!r} asked for"
    if old.seed != definition.seed:
        yield f"seed: {old.seed} there, {definition.seed} asked for"
    split = source.path / "split.json"
    if not split.exists() or origin.read_json(split).get("fingerprint") != data:
        yield "other data, or divided in another way"


def _nothing_fits(source: StudyFolder, new: str, left: Mapping[str, int]) -> AutosdError:
    if not left:
        return AutosdError(
            f"study {source.name}: has no finished trial yet; begin {new} without (--name {new})"
        )
    lines = [f"  {n} trials: {reason}" for reason, n in left.items()]
    return AutosdError(
        "\n".join(
            [
                f"no finished trial of study {source.name} can be one of {new}:",
                *lines,
                f"begin {new} without them: --name {new} in the place of --fork {new}",
            ]
        )
    )
