"""A study in memory says what its database says, whatever was written through it."""

import math
import random
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from autosd.search import ledger, store
from autosd.search.mirror import mirrored

FIELDS = (
    "number",
    "state",
    "values",
    "params",
    "distributions",
    "user_attrs",
    "system_attrs",
    "datetime_start",
    "datetime_complete",
    "_trial_id",
)


def told(trial: FrozenTrial) -> dict[str, object]:
    """Its fields, in a form in which NaN equals NaN."""
    curve = {step: repr(value) for step, value in trial.intermediate_values.items()}
    return {**{name: getattr(trial, name) for name in FIELDS}, "curve": curve}


def test_memory_and_database_say_the_same_after_every_trial(tmp_path: Path) -> None:
    url, draw = f"sqlite:///{tmp_path / 'study.db'}", random.Random(1)
    storage = store.open_storage(url)
    optuna.create_study(study_name="x", storage=storage, direction="maximize")
    study = optuna.load_study(study_name="x", storage=storage)
    study = mirrored(study, optuna.samplers.RandomSampler(seed=1), optuna.pruners.NopPruner())
    for number in range(24):
        if draw.random() < 0.3:
            study.enqueue_trial({"x": draw.random(), "c": "a"}, user_attrs={"asked": [1, True]})
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("c", ["a", "b"])
        trial.set_user_attr("u", 1)
        for epoch in range(draw.randint(0, 3)):
            trial.report(draw.choice([0.1, math.nan, math.inf, 1.0]), 10 * number + epoch)
        match number % 6:
            case 0:
                study.tell(trial, draw.random())
            case 1:
                study.tell(trial, state=TrialState.PRUNED)
            case 2:
                study.tell(trial, state=TrialState.FAIL)
            case 3:
                ledger.put_back(study, trial)
            case 4:
                study.tell(trial, math.inf)
            case _:
                pass  # it runs on
        fresh = optuna.load_study(study_name="x", storage=store.open_storage(url, read_only=True))
        assert list(map(told, study.get_trials())) == list(map(told, fresh.get_trials()))
    store.close(storage)
