"""T3, T4: counting, retries, sweeps, duplicates, defaults."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import Trial, TrialState

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search import address, census, ending, ledger, store
from autosd.search.faults import POLICIES, Kind
from autosd.search.ledger import Counts
from autosd.search.space import Space

BASE = Recipe.parse({"data": "digits", "epochs": 10})
SMALL = Space.parse(
    {
        "families": {
            "cross_entropy": {"members": ["cross_entropy"]},
            "masd": {"members": ["masd"], "knobs": {"masd.taps": {"choice": [1, 2], "default": 1}}},
        }
    }
)


def start(study: optuna.Study, space: Space) -> Trial:
    """A running trial with all its parameters."""
    return ledger.ask(study, space, BASE)[0]


def finish(study: optuna.Study, trial: Trial, *values: float) -> None:
    """Report a curve and complete the trial with its last value."""
    ledger.report(study, trial, enumerate(values, start=1))
    ledger.tell_complete(study, trial, values[-1], epochs_run=len(values))


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_defaults_come_first_with_cross_entropy_leading(study: optuna.Study, joint: Space) -> None:
    assert ledger.enqueue_defaults(study, joint) == len(joint.families)
    drawn = []
    for _ in joint.families:
        trial, _ = ledger.ask(study, joint, BASE)
        drawn.append(trial.params)
        assert trial.user_attrs["origin"] == "default"
        assert trial.user_attrs["protected"] is True
    assert drawn[0] == joint.default_params("cross_entropy")
    assert drawn == [joint.default_params(family) for family in ledger.default_order(joint)]
    assert ledger.ask(study, joint, BASE)[0].user_attrs["origin"] == "search"


def test_defaults_are_enqueued_once_even_if_the_first_call_was_cut(
    study: optuna.Study, joint: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue = study.enqueue_trial

    def dies_at_the_third(*args: Any, **options: Any) -> None:
        if len(study.trials) == 2:
            raise KeyboardInterrupt
        enqueue(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(study, "enqueue_trial", dies_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            ledger.enqueue_defaults(study, joint)
    assert ledger.enqueue_defaults(study, joint) == len(joint.families) - 2
    assert ledger.enqueue_defaults(study, joint) == 0
    assert [trial.user_attrs["default_of"] for trial in study.trials] == ledger.default_order(joint)


def test_impossible_parameters_are_refused_before_they_are_enqueued(
    study: optuna.Study, joint: Space
) -> None:
    for change in ({"strategy": "mads"}, {"mixup.alpha": 7.0}):
        with pytest.raises(AutosdError):
            ledger.enqueue(study, joint, {**joint.default_params("mixup"), **change}, "prior")
    assert study.trials == []


def test_only_missing_epochs_are_reported(study: optuna.Study, joint: Space) -> None:
    trial = start(study, joint)
    ledger.report(study, trial, [(1, 0.1), (2, 0.2)])
    ledger.report(study, trial, [(1, 0.9), (2, 0.9), (3, 0.3)])
    assert study.trials[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}


def test_a_pruned_trial_has_its_last_value_and_a_diverged_one_none(
    study: optuna.Study, joint: Space
) -> None:
    pruned, diverged, at_once = (start(study, joint) for _ in range(3))
    ledger.report(study, pruned, [(1, 0.4), (2, 0.3)])
    ledger.tell_pruned(study, pruned, why="below the median", pruned_at=2, projected=None)
    ledger.report(study, diverged, [(1, 0.4)])
    ledger.tell_diverged(study, diverged, 2, "diverged at epoch 2: supervised")
    ledger.tell_diverged(study, at_once, 1, "diverged at epoch 1: supervised")
    assert states(study) == ["PRUNED"] * 3
    assert [trial.value for trial in study.trials] == [0.3, None, None]
    assert study.trials[0].user_attrs["ended"] == "pruned"
    assert "projected" not in study.trials[0].user_attrs
    assert study.trials[1].user_attrs["why"] == "diverged at epoch 2: supervised"
    assert math.isnan(study.trials[1].intermediate_values[2])
    assert ledger.counts(study) == Counts(pruned=3, diverged=2)


def test_the_plan_counts_neither_retries_nor_duplicates(study: optuna.Study, joint: Space) -> None:
    finish(study, start(study, joint), 0.5)
    ledger.requeue_then_fail(study, start(study, joint), "interrupted")
    ledger.requeue_then_fail(study, start(study, joint), "memory", "out of memory")
    now = ledger.counts(study)
    assert now == Counts(complete=1, waiting=1, superseded=2)
    assert now.counted == 1
    assert ending.goes_on(ledger.census(study), 1)
    finish(study, start(study, joint), 0.6)
    assert not ending.goes_on(ledger.census(study), 2)
    assert ending.goes_on(ledger.census(study), 3)
    running = start(study, joint)
    assert not ending.goes_on(ledger.census(study), 3)
    finish(study, running, 0.1)


def test_out_of_memory_is_tried_twice_and_an_interruption_never_counts(
    study: optuna.Study, joint: Space
) -> None:
    first = start(study, joint)
    params = dict(first.params)
    trial = first
    for ended in ("interrupted", "interrupted", "memory", "interrupted"):
        assert ledger.requeue_then_fail(study, trial, ended, "why")
        trial = start(study, joint)
        assert (trial.params, census.lineage(trial)) == (params, first.number)
    assert not ledger.requeue_then_fail(study, trial, "memory", "why")
    assert ledger.counts(study) == Counts(failed=1, superseded=4)
    last = study.trials[-1]
    assert last.user_attrs["attempt"] == 2
    assert (last.user_attrs["ended"], last.user_attrs["why"]) == ("memory", "why")


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind != "diverged"])
def test_a_fault_is_followed_by_the_attempts_of_the_table_counted_for_its_kind(
    study: optuna.Study, joint: Space, kind: Kind
) -> None:
    most = POLICIES[kind].attempts
    others: list[Kind] = ["worker", "memory"]
    trial = start(study, joint)
    for ended in (other for other in others if other != kind):
        assert ledger.requeue_then_fail(study, trial, ended)
        trial = start(study, joint)
    ended_so = 0
    while ended_so < (most or 9) and ledger.requeue_then_fail(study, trial, kind):
        ended_so += 1
        trial = start(study, joint)
        assert census.lineage(trial) == 0
    assert ended_so == (9 if most is None else most - 1)
    assert ledger.counts(study).failed == (most is not None)


def test_what_is_not_blamed_on_a_trial_leaves_it_all_its_attempts(
    study: optuna.Study, joint: Space
) -> None:
    for _ in range(9):
        trial = start(study, joint)
        assert ledger.requeue_then_fail(study, trial, "data", "gone", blamed=False)
    assert ledger.failed_before(study.trials[-1]) == []
    assert study.trials[-1].user_attrs["attempt"] == 1
    assert study.trials[0].user_attrs["ended"] == "data"


def test_a_trial_that_must_be_alone_stays_so_after_an_interruption(
    study: optuna.Study, joint: Space
) -> None:
    assert not ledger.next_is_alone(study)
    ledger.requeue_then_fail(study, start(study, joint), "memory")
    assert ledger.next_is_alone(study)
    start(study, joint)
    ledger.sweep(study)
    assert ledger.next_is_alone(study)


def test_a_copy_keeps_origin_and_protection(study: optuna.Study, joint: Space) -> None:
    ledger.enqueue_defaults(study, joint)
    ledger.requeue_then_fail(study, start(study, joint), "interrupted")
    copy = study.trials[-1].user_attrs
    assert (copy["origin"], copy["protected"], copy["retry_of"]) == ("default", True, 0)
    assert ledger.enqueue_defaults(study, joint) == 0


def test_a_trial_killed_while_it_was_asked_keeps_what_it_had(
    study: optuna.Study, joint: Space
) -> None:
    study.ask().suggest_categorical("strategy", tuple(sorted(joint.families)))
    family = study.trials[0].params["strategy"]
    ledger.enqueue(study, joint, joint.default_params("masd"), "prior")
    study.ask()
    assert ledger.sweep(study) == 2
    assert start(study, joint).params["strategy"] == family
    assert start(study, joint).params == joint.default_params("masd")


@pytest.mark.parametrize("step", ["enqueue_trial", "set_trial_user_attr", "tell"])
def test_a_requeue_cut_at_any_step_leaves_exactly_one_successor(
    study: optuna.Study, joint: Space, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = start(study, joint)
    params = dict(trial.params)

    def dies(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        owner = study._storage if step == "set_trial_user_attr" else study
        patch.setattr(owner, step, dies)
        with pytest.raises(KeyboardInterrupt):
            ledger.requeue_then_fail(study, trial, "interrupted")
    assert study.trials[0].state is TrialState.RUNNING
    assert ledger.sweep(study) == 1
    assert ledger.sweep(study) == 0
    assert states(study) == ["FAIL", "WAITING"]
    assert ledger.counts(study) == Counts(waiting=1, superseded=1)
    assert start(study, joint).params == params


def test_identical_parameters_are_told_the_first_result(study: optuna.Study) -> None:
    ledger.enqueue_defaults(study, SMALL)
    first = start(study, SMALL)
    assert ledger.first_like(study, first) is None
    finish(study, first, 0.3, 0.6)
    finish(study, start(study, SMALL), 0.5)
    ledger.enqueue(study, SMALL, SMALL.default_params("cross_entropy"), "search")
    again = start(study, SMALL)
    found = ledger.first_like(study, again)
    assert found is not None
    assert found.number == 0
    ledger.tell_duplicate(study, again, found)
    told = study.trials[-1]
    assert (told.state, told.value) == (TrialState.COMPLETE, 0.6)
    assert told.intermediate_values == {1: 0.3, 2: 0.6}
    assert told.user_attrs["duplicate_of"] == 0
    assert ledger.counts(study) == Counts(complete=2, duplicates=1)


def test_a_duplicate_of_a_pruned_or_diverged_trial_is_pruned_as_well(study: optuna.Study) -> None:
    pruned, diverged = (SMALL.default_params(family) for family in SMALL.families)
    for params in (pruned, diverged):
        ledger.enqueue(study, SMALL, params, "search")
    trial = start(study, SMALL)
    ledger.report(study, trial, [(1, 0.2)])
    ledger.tell_pruned(study, trial)
    ledger.tell_diverged(study, start(study, SMALL), 1, "diverged at epoch 1: supervised")
    for params, value in ((pruned, 0.2), (diverged, None)):
        ledger.enqueue(study, SMALL, params, "search")
        again = start(study, SMALL)
        first = ledger.first_like(study, again)
        assert first is not None
        ledger.tell_duplicate(study, again, first)
        assert (study.trials[-1].state, study.trials[-1].value) == (TrialState.PRUNED, value)
    assert ledger.counts(study) == Counts(pruned=2, diverged=1, duplicates=2)


def test_a_duplicate_of_a_running_trial_leaves_no_trace_in_the_counts(study: optuna.Study) -> None:
    ledger.enqueue_defaults(study, SMALL)
    first = start(study, SMALL)
    start(study, SMALL)
    ledger.enqueue(study, SMALL, dict(first.params), "search")
    again = start(study, SMALL)
    found = ledger.first_like(study, again)
    assert found is not None
    assert found.state is TrialState.RUNNING
    ledger.tell_duplicate(study, again, found)
    assert ledger.counts(study) == Counts(running=2, duplicates=1)
    assert ledger.census(study).repeats == 1


def test_the_copy_of_an_interrupted_trial_is_no_duplicate(study: optuna.Study) -> None:
    ledger.enqueue_defaults(study, SMALL)
    ledger.requeue_then_fail(study, start(study, SMALL), "interrupted")
    start(study, SMALL)
    copy = start(study, SMALL)
    assert census.lineage(copy) == 0
    assert ledger.first_like(study, copy) is None


def test_a_small_space_ends_when_everything_was_tried(study: optuna.Study) -> None:
    ran = 0
    while ending.goes_on(ledger.census(study), 1000):
        trial = start(study, SMALL)
        first = ledger.first_like(study, trial)
        if first is not None:
            ledger.tell_duplicate(study, trial, first)
        else:
            ran += 1
            finish(study, trial, 0.5)
    assert ran == 3
    assert ledger.census(study).exhausted
    assert ledger.counts(study).counted == 3


EVENTS = ("complete", "prune", "error", "memory", "worker", "sweep")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=30))
def test_whatever_happens_the_plan_is_reached_exactly(events: list[str]) -> None:
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(len(events))
    )
    space = Space.parse(
        {"families": {"masd": {"knobs": {"masd.x": {"uniform": [0.0, 1.0], "default": 0.5}}}}}
    )
    ledger.enqueue_defaults(study, space)
    planned, todo = 8, [*events]
    while ending.goes_on(ledger.census(study), planned):
        trial = start(study, space)
        event = todo.pop() if todo else "complete"
        ledger.report(study, trial, [(1, 0.1)])
        if event == "complete":
            finish(study, trial, 0.1, 0.2)
        elif event == "prune":
            ledger.tell_pruned(study, trial)
        elif event in POLICIES:
            ledger.requeue_then_fail(study, trial, event)
        else:
            ledger.sweep(study)
    now = ledger.counts(study)
    assert (now.counted, now.running, now.waiting) == (planned, 0, 0)
    counted = [
        census.lineage(trial) for trial in study.trials if not trial.user_attrs.get("superseded")
    ]
    assert len(counted) == len(set(counted)) == planned


def test_the_ledger_is_the_same_after_reopening_the_storage(tmp_path: Path, joint: Space) -> None:
    url = address.storage_url(tmp_path)
    study = optuna.create_study(
        storage=store.open_storage(url), study_name="s", direction="maximize"
    )
    ledger.enqueue_defaults(study, joint)
    finish(study, start(study, joint), 0.5, 0.7)
    start(study, joint)
    before = ledger.counts(study)
    again = optuna.load_study(study_name="s", storage=store.open_storage(url))
    assert ledger.counts(again) == before
    assert ledger.sweep(again) == 1
    assert ledger.counts(again).superseded == 1
    assert again.trials[0].value == 0.7
