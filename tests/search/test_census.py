"""Counting while trials change gives what counting all of them anew gives."""

import datetime
import random
from collections.abc import Iterator, Sequence

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autosd.search.census import PLACES, Census, Counts, lineage, superseded

EPOCH = datetime.datetime(2026, 1, 1)
ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def seen(number: int, state: TrialState, knob: int, at: int, **attrs: object) -> FrozenTrial:
    """A trial with one parameter that ended at second `at`; a waiting one has no parameter yet."""
    waiting = state is TrialState.WAITING
    value = knob % 5 + 0.5 if state is TrialState.COMPLETE else None
    trial = create_trial(
        state=state,
        value=value,
        params={} if waiting else {"knob": knob},
        distributions={} if waiting else {"knob": IntDistribution(0, 9)},
        user_attrs=attrs,
    )
    trial.number, trial._trial_id = number, number
    trial.datetime_complete = EPOCH + datetime.timedelta(seconds=at)
    return trial


def history(draw: random.Random, steps: int) -> Iterator[FrozenTrial]:
    """Trials that begin, end, repeat others and are tried again, one change at a time."""
    live: dict[int, FrozenTrial] = {}
    ended: list[FrozenTrial] = []
    begun = 0
    for _ in range(steps):
        if live and draw.random() < 0.5:
            old = live.pop(draw.choice(list(live)))
            extra: dict[str, object] = dict(old.user_attrs)
            state, knob = draw.choice(ENDS), old.params["knob"]
            if draw.random() < 0.2 and old.number:
                extra["duplicate_of"] = draw.randrange(old.number)
            elif state is TrialState.FAIL and draw.random() < 0.5:
                extra |= {"superseded": True, "ended": "interrupted"}
            elif state is TrialState.PRUNED and draw.random() < 0.5:
                extra["ended"] = "diverged"
            ended.append(seen(old.number, state, knob, draw.randrange(steps), **extra))
            yield ended[-1]
        else:
            again = ended and draw.random() < 0.4
            attrs = {"retry_of": lineage(draw.choice(ended))} if again else {}
            knob = draw.randrange(10)
            yield seen(begun, TrialState.WAITING, knob, 0, **attrs)
            live[begun] = seen(begun, TrialState.RUNNING, knob, 0, **attrs)
            yield live[begun]
            begun += 1


def counted_anew(found: Sequence[FrozenTrial]) -> Counts:
    """Every trial looked at, by the words of `Counts`."""
    tally = dict.fromkeys(Counts.__dataclass_fields__, 0)
    gone = superseded(found)
    for one in found:
        if "duplicate_of" in one.user_attrs and one.state.is_finished():
            tally["duplicates"] += 1
        elif one.number in gone:
            tally["superseded"] += 1
        else:
            tally[PLACES[one.state.name]] += 1
            tally["diverged"] += one.user_attrs.get("ended") == "diverged"
    return Counts(**tally)


def unimproved_anew(found: Sequence[FrozenTrial], minimise: bool) -> int:
    """The counted trials in the order of their ends, one after the other."""
    gone = superseded(found)
    counting = [
        one
        for one in found
        if one.state.is_finished()
        and "duplicate_of" not in one.user_attrs
        and one.number not in gone
    ]
    best, since = None, 0
    for one in sorted(counting, key=lambda one: (one.datetime_complete, one.number)):
        merit = None if one.value is None else one.value * (-1 if minimise else 1)
        better = merit is not None and (best is None or merit > best)
        best = merit if better else best
        since = 0 if better or best is None else since + 1
    return since


def first_like_anew(found: Sequence[FrozenTrial], trial: FrozenTrial) -> int | None:
    """Every earlier trial looked at."""
    gone = superseded(found)
    for other in found[: trial.number]:
        alike = bool(other.params) and other.params == trial.params
        replaced = "duplicate_of" in other.user_attrs or other.number in gone
        if alike and not replaced and lineage(other) != lineage(trial):
            return other.number
    return None


@pytest.mark.parametrize("seed", range(12))
def test_what_is_kept_equals_what_is_counted_anew_after_every_change(seed: int) -> None:
    minimise = seed % 2 == 1
    kept, now = Census(minimise), dict[int, FrozenTrial]()
    for trial in history(random.Random(seed), 80):
        kept.update(trial)
        now[trial.number] = trial
        found = [now[number] for number in sorted(now)]
        assert kept.counts == counted_anew(found)
        assert kept.unimproved == unimproved_anew(found, minimise)
        like = kept.first_like(trial)
        if trial.params:
            assert (None if like is None else like.number) == first_like_anew(found, trial)


def test_repeats_are_the_newest_trials_in_a_row_that_repeat_others() -> None:
    done = TrialState.COMPLETE
    marks = [{}, {"duplicate_of": 0}, {}, {"duplicate_of": 0}, {"duplicate_of": 2}]
    found = [seen(number, done, 1, number, **mark) for number, mark in enumerate(marks)]
    assert [Census(False, found[:end]).repeats for end in range(6)] == [0, 0, 1, 0, 1, 2]
