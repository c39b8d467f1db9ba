"""The ledger: what a study has done, does and still owes. Pure Optuna, whose storage is the truth.

Only the holder of the study's lock calls what writes (rule R1). A trial is COMPLETE, PRUNED
(diverged ones too), or FAIL. An interrupted or repeated attempt is FAIL and *superseded*: it has a
successor with the same parameters, whose `retry_of` names the first attempt, and which counts.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from autosd.recipe import Recipe
from autosd.search.census import RETRY, Census, Counts, lineage
from autosd.search.faults import Kind, goes_again, must_be_alone
from autosd.search.knobs import STRATEGY
from autosd.search.mirror import folded, set_attributes
from autosd.search.space import Space

logger = logging.getLogger(__name__)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
FAILED_BEFORE = "failed_before"
"""User attribute of a later attempt: how those before it failed that count against the trial."""
LASTING = ("origin", "protected")  # those that a further attempt takes over


def trials(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """Trials in the order of their numbers, not to be changed; all states if none is given."""
    return study.get_trials(deepcopy=False, states=states or None)


def frozen(study: optuna.Study, trial: Trial | FrozenTrial) -> FrozenTrial:
    """A trial as the storage has it now."""
    return study._storage.get_trial(trial._trial_id)


def census(study: optuna.Study) -> Census:
    """Where the trials of a study stand."""
    return folded(study, Census)


def counts(study: optuna.Study) -> Counts:
    """How many trials of a study stand where."""
    return census(study).counts


# Planning: what is enqueued before the sampler proposes.


def enqueue(
    study: optuna.Study,
    space: Space,
    params: Mapping[str, Any],
    origin: Literal["default", "prior", "search", "user"],
    *,
    protected: bool = False,
    marks: Mapping[str, str] | None = None,
) -> None:
    """Put parameters in the queue after checking them against the space (rule R10).

    `marks` are further attributes of the trial, written with it in one step.
    """
    space.check_params(params)
    attrs = {"origin": origin, "protected": protected, **(marks or {})}
    study.enqueue_trial(dict(params), user_attrs=attrs)


def enqueue_defaults(study: optuna.Study, space: Space) -> int:
    """Enqueue cross-entropy and every family's published default, protected, once per study.

    A kill in between leaves some of them; the next call adds the rest. Returns how many it added.
    """
    have = {
        (trial.user_attrs.get("default_of"))
        for trial in trials(study)
        if "default_of" in trial.user_attrs
    }
    missing = [family for family in default_order(space) if family not in have]
    for family in missing:
        study.enqueue_trial(
            space.default_params(family),
            user_attrs={"origin": "default", "protected": True, "default_of": family},
        )
    return len(missing)


def default_order(space: Space) -> list[str]:
    """Families with cross-entropy first."""
    return sorted(space.families, key=lambda family: family != "cross_entropy")


# The life of a trial.


def ask(study: optuna.Study, space: Space, base: Recipe) -> tuple[Trial, Recipe]:
    """The next trial, RUNNING with all its parameters, and its recipe.

    What the dashboard shows of a trial from its start is set here, one short attribute per fact.
    """
    trial = study.ask()
    recipe = space.define(trial, base)
    facts = {
        "origin": trial.user_attrs.get("origin", "search"),
        "family": trial.params[STRATEGY],
        "strategies": ", ".join(strategy.name for strategy in recipe.strategies),
        "seed": recipe.seed,
    }
    set_facts(trial, facts)
    return trial, recipe


def put_back(study: optuna.Study, trial: Trial) -> None:
    """Let a trial wait again that never began: `ask` takes it up with the parameters it has."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def report(study: optuna.Study, trial: Trial, history: Iterable[tuple[int, float]]) -> None:
    """Report the epochs `(1-based epoch, value)` that the storage does not have yet (rule R4)."""
    have = frozen(study, trial).intermediate_values
    for epoch, value in history:
        if epoch not in have:
            trial.report(value, epoch)


def tell_complete(study: optuna.Study, trial: Trial, value: float, **facts: Any) -> None:
    """End a trial that trained to its last epoch; `value` is the metric of that epoch."""
    set_facts(trial, facts)
    study.tell(trial, value)


def tell_pruned(study: optuna.Study, trial: Trial, **facts: Any) -> None:
    """End a trial that the pruner stopped; its value is the last one reported (rule R5)."""
    set_facts(trial, {"ended": "pruned", **facts})
    study.tell(trial, state=TrialState.PRUNED)


def tell_diverged(study: optuna.Study, trial: Trial, epoch: int, why: str, **facts: Any) -> None:
    """End a trial whose loss became infinite or NaN: PRUNED without a value (rule R6)."""
    set_facts(trial, {"ended": "diverged", "why": why, **facts})
    report(study, trial, [(epoch, math.nan)])
    study.tell(trial, state=TrialState.PRUNED)


def set_facts(trial: Trial, facts: Mapping[str, Any]) -> None:
    """Set user attributes; None is left out, since the dashboard sorts only numbers (rule R11)."""
    known = {name: value for name, value in facts.items() if value is not None}
    if known:
        set_attributes(trial.study, trial, known)


# Attempts that end without a result.


def requeue_then_fail(
    study: optuna.Study,
    trial: Trial | FrozenTrial,
    ended: Kind,
    why: str = "",
    blamed: bool = True,
) -> bool:
    """Enqueue a copy of a RUNNING trial, then fail it (rule R14); whether a copy exists.

    How often a trial may end so is the table's of `faults`; after that the failure stays. What is
    not `blamed` on the trial counts as an interruption, which is for ever free. A kill between the
    steps leaves a RUNNING trial and its copy, which the next sweep completes: a trial is never
    lost and never doubled.
    """
    now = frozen(study, trial)
    before = failed_before(now)
    counts_as: Kind = ended if blamed else "interrupted"
    retry = goes_again(counts_as, before)
    if retry and not _has_successor(study, now):
        if counts_as != "interrupted":
            before = [*before, ended]
        study.enqueue_trial(
            {**now.system_attrs.get("fixed_params", {}), **now.params},
            user_attrs=inherited(now)
            | {RETRY: lineage(now), "attempt": len(before) + 1}
            | ({FAILED_BEFORE: before} if before else {}),
        )
    facts = {"ended": ended, "why": why or ended, "superseded": retry}
    for name, value in facts.items():
        study._storage.set_trial_user_attr(now._trial_id, name, value)
    study.tell(now.number, state=TrialState.FAIL)
    return retry


def failed_before(trial: FrozenTrial) -> list[str]:
    """Kinds of the attempts before this one that count against the trial."""
    return list(trial.user_attrs.get(FAILED_BEFORE, ()))


def next_is_alone(study: optuna.Study) -> bool:
    """Whether the trial that is served next waits to run with no other beside it."""
    if not counts(study).waiting:
        return False
    return must_be_alone(failed_before(trials(study, TrialState.WAITING)[0]))


def sweep(study: optuna.Study) -> int:
    """Requeue every RUNNING trial: nobody runs it when this is called. Returns how many."""
    running = trials(study, TrialState.RUNNING)
    for trial in running:
        requeue_then_fail(study, trial, "interrupted")
    return len(running)


def _has_successor(study: optuna.Study, trial: FrozenTrial) -> bool:
    first = lineage(trial)
    return any(
        other.user_attrs.get(RETRY) == first and other.number > trial.number
        for other in trials(study)
    )


def inherited(trial: FrozenTrial) -> dict[str, Any]:
    """Attributes that a later attempt takes over."""
    return {
        name: value for name, value in trial.user_attrs.items() if name in (*LASTING, "default_of")
    }


# Identical parameters never run twice.


def first_like(study: optuna.Study, trial: Trial | FrozenTrial) -> FrozenTrial | None:
    """The earlier trial with the same parameters, running or finished, or None."""
    like = census(study).first_like(frozen(study, trial))
    return None if like is None else trials(study)[like.number]


def tell_duplicate(study: optuna.Study, trial: Trial, first: FrozenTrial) -> None:
    """End a trial with state, value and curve of the earlier one; it is not counted.

    Where the earlier one still runs there is nothing to copy yet: the trial becomes a superseded
    FAIL, which no sampler looks at, and the caller waits before it asks again.
    """
    set_facts(trial, {"duplicate_of": first.number, "why": f"same as trial {first.number}"})
    if first.state is TrialState.COMPLETE or first.state is TrialState.PRUNED:
        report(study, trial, sorted(first.intermediate_values.items()))
        set_facts(trial, {key: first.user_attrs.get(key) for key in ("ended", "epochs_run")})
        value = first.value if first.state is TrialState.COMPLETE else None
        study.tell(trial, value, first.state)
    else:
        trial.set_user_attr("superseded", True)
        study.tell(trial, state=TrialState.FAIL)
