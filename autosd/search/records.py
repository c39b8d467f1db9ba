"""Trials as plain values for readers: tables, figures, the command line. No torch, no Ray."""

import datetime
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from autosd.search.census import PLACES, Seen, lineage, superseded
from autosd.search.knobs import STRATEGY
from autosd.search.space import Space

if TYPE_CHECKING:
    import optuna


class Whole(Seen, Protocol):
    """All that is known of a trial: an Optuna `FrozenTrial`, or one read without Optuna."""

    @property
    def system_attrs(self) -> Mapping[str, Any]: ...

    @property
    def intermediate_values(self) -> Mapping[int, float]: ...

    @property
    def datetime_start(self) -> datetime.datetime | None: ...


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study.

    Attributes:
        number: its number in the storage and on the dashboard.
        lineage: number of its first attempt, which names its folder.
        state: complete, pruned, diverged, failed, running or waiting.
        family: the value of `strategy`; empty while a waiting trial has none.
        strategies: the strategies of its recipe.
        params: parameters by name, as far as they are known.
        value: the metric of the last epoch; None where there is none.
        curve: `(1-based epoch, value)`, finite values only.
        epochs_run: epochs trained.
        seconds: time inside epochs.
        cost: what its strategies declare of a step, with cross-entropy's as 1; None where unknown.
        origin: default, prior, search, user, or forked from a trial of another study.
        protected: whether no pruner may stop it.
        why: one line: why it was pruned, diverged or failed.
        duplicate_of: number of the trial with the same parameters, or None.
        superseded: whether a later attempt took its place.
        started, finished: local times, None where not yet.
        attributes: all user attributes.
    """

    number: int
    lineage: int
    state: str
    family: str
    strategies: tuple[str, ...]
    params: Mapping[str, Any]
    value: float | None
    curve: tuple[tuple[int, float], ...]
    epochs_run: int
    seconds: float
    origin: str
    protected: bool
    why: str
    duplicate_of: int | None = None
    superseded: bool = False
    cost: float | None = None
    started: datetime.datetime | None = None
    finished: datetime.datetime | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def record(trial: Whole, space: Space, replaced: bool = False) -> TrialRecord:
    """The record of a trial."""
    attrs = trial.user_attrs
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    curve = sorted(trial.intermediate_values.items())
    finite = tuple((epoch, value) for epoch, value in curve if math.isfinite(value))
    diverged = attrs.get("ended") == "diverged"
    return TrialRecord(
        number=trial.number,
        lineage=lineage(trial),
        state="diverged" if diverged else PLACES[trial.state.name],
        family=str(params.get(STRATEGY, "")),
        strategies=space.strategies(params),
        params=params,
        value=trial.value if trial.state.name in ("COMPLETE", "PRUNED") else None,
        curve=finite,
        epochs_run=int(attrs.get("epochs_run", len(finite))),
        seconds=float(attrs.get("seconds", 0.0)),
        origin=str(attrs.get("origin", "search")),
        protected=bool(attrs.get("protected", False)),
        why=str(attrs.get("why", "")),
        duplicate_of=attrs.get("duplicate_of"),
        superseded=replaced or bool(attrs.get("superseded", False)),
        cost=attrs.get("cost"),
        started=trial.datetime_start,
        finished=trial.datetime_complete,
        attributes=attrs,
    )


def declared_cost(epoch: Mapping[str, Any]) -> float | None:
    """Cost of a step as a record of `history.jsonl` has it; None in those that lack it."""
    step = epoch.get("work", {}).get("declared", {}).get("step")
    return None if step is None else round(float(step), 4)


def records(study: "optuna.Study", space: Space, *, hidden: bool = False) -> list[TrialRecord]:
    """Records of a study in order of number.

    Args:
        study: the study.
        space: its space.
        hidden: also superseded attempts and duplicates (rule R55).
    """
    trials = study.get_trials(deepcopy=False)
    gone = superseded(trials)
    found = [record(trial, space, trial.number in gone) for trial in trials]
    return found if hidden else list(visible(found))


def visible(found: Iterable[TrialRecord]) -> Iterable[TrialRecord]:
    """Records without superseded attempts and duplicates."""
    return (each for each in found if not each.superseded and each.duplicate_of is None)
