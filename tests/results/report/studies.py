"""Studies made by hand: any space, any values, no training; on disk, or told without one."""

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from autosd import yamlfile
from autosd.recipe import Recipe, StudyDefinition
from autosd.results.leaderboard import leaderboard
from autosd.results.report.effort import Effort
from autosd.results.report.story import Story, controls
from autosd.search.knobs import Knob
from autosd.search.ledger import Counts
from autosd.search.meter import Use
from autosd.search.records import record
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close

START = datetime.datetime(2026, 1, 1, 12)
EPOCHS = 4
SPACE = {
    "training": {"knobs": {"optimizer.lr": {"log_uniform": [0.03, 0.3], "default": 0.1}}},
    "families": {
        "cross_entropy": {"members": ["cross_entropy"]},
        "cutmix": {
            "members": ["cutmix"],
            "knobs": {"cutmix.prob": {"uniform": [0.0, 1.0], "default": 0.5}},
        },
        "masd": {
            "members": ["masd"],
            "knobs": {
                "masd.mask_ratio": {"uniform": [0.0, 0.75], "default": 0.15},
                "masd.weighting_temperature": {"log_uniform": [0.1, 10.0], "default": 1.0},
                "masd.branch_depth": {"choice": ["full", "light"], "default": "full"},
            },
        },
        "mixed": {
            "slots": {
                "mixed.input": {"choice": ["cutmix", "mixup"], "default": "cutmix", "sets": []},
                "mixed.branch": {"choice": ["none", "masd"], "default": "masd", "sets": []},
            },
            "knobs": {
                "masd.mask_ratio": {
                    "uniform": [0.0, 0.75],
                    "default": 0.15,
                    "when": {"mixed.branch": ["masd"]},
                }
            },
        },
    },
}
Value = Callable[[Mapping[str, Any]], float]


def study(
    root: Path,
    value: Value,
    trials: int = 40,
    *,
    name: str = "hand",
    space: Mapping[str, Any] = SPACE,
    objective: str = "top1",
    seed: int = 0,
    stopped: int = 0,
) -> StudyFolder:
    """A finished study on disk whose trials are drawn at random, families in turn.

    Its database takes a tenth of a second for each trial; `story` needs none.

    Args:
        root: folder of studies.
        value: of a complete trial by its parameters.
        trials: how many.
        name: of the study.
        space: as `Space.mapping` gives it.
        objective: of the study.
        seed: of the draws.
        stopped: every so manieth trial was pruned after two epochs; 0 prunes none.
    """
    resolved = Space.parse(space)
    folder = StudyFolder.prepare(root, definition(name, objective, trials), resolved)
    loaded = folder.load(read_only=False)
    try:
        for trial in drawn(resolved, value, trials, seed, stopped):
            loaded.add_trial(trial)
            _write(folder, trial)
    finally:
        close(loaded)
    return folder


def story(
    value: Value,
    trials: int = 40,
    *,
    space: Mapping[str, Any] = SPACE,
    objective: str = "top1",
    seed: int = 0,
    stopped: int = 0,
    **told: Any,
) -> Story:
    """The story of such a study without one on disk; `told` replaces what it tells."""
    resolved = Space.parse(space)
    folder = StudyFolder(
        Path("/no/study/hand"), definition("hand", objective, trials), resolved, "sqlite://"
    )
    found = drawn(resolved, value, trials, seed, stopped)
    attempts = tuple(record(trial, resolved) for trial in found)
    facts: dict[str, Any] = {
        "folder": folder,
        "attempts": attempts,
        "counts": Counts(complete=sum(one.state == "complete" for one in attempts)),
        "use": Use(9.0, 10.0, 12.0),
        "rows": tuple(leaderboard(attempts, resolved.families, objective == "nll")),
        "winner": None,
        "finalists": (),
        "compared": (),
        "retrained": None,
        "ensembled": None,
        "efforts": {one.number: _effort(one.params, one.epochs_run) for one in attempts},
        "images": {"val": 200, "select": 200, "test": 400},
        "readings": (),
        "environment": {},
        "controls": controls(),
        "missing": (),
    }
    return Story(**{**facts, **told})


def definition(name: str, objective: str, trials: int) -> StudyDefinition:
    """What was asked for."""
    return StudyDefinition.parse(
        {
            "name": name,
            "recipe": {"data": "digits", "model": "resnet8", "epochs": EPOCHS},
            "trials": trials,
            "objective": objective,
            "finalists": {"count": 0},
        }
    )


def drawn(
    space: Space, value: Value, trials: int, seed: int, stopped: int
) -> list[optuna.trial.FrozenTrial]:
    """Ended trials of a space, families in turn; see `study`."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(trials):
        params = draw(space, space.families[number % len(space.families)], generator)
        prune = stopped > 0 and number % stopped == stopped - 1
        found.append(_trial(space, number, params, value(params), prune))
    return found


def draw(space: Space, family: str, generator: np.random.Generator) -> dict[str, Any]:
    """Parameters of a trial of a family."""
    params: dict[str, Any] = {"strategy": family}
    for knob in space.knobs(family):
        if knob.active(params):
            params[knob.name] = _draw(knob, generator)
    return params


def _draw(knob: Knob, generator: np.random.Generator) -> Any:
    if knob.kind == "choice":
        return knob.choices[int(generator.integers(len(knob.choices)))]
    low, high = knob.bounds
    if knob.kind == "integers":
        return int(generator.integers(low, high + 1))
    if knob.log:
        return float(np.exp(generator.uniform(np.log(low), np.log(high))))
    return float(generator.uniform(low, high))


def _curve(value: float, epochs: int) -> dict[int, float]:
    """A curve that climbs to its value."""
    return {epoch: value * (0.9 + 0.1 * epoch / EPOCHS) for epoch in range(1, epochs + 1)}


def _trial(
    space: Space, number: int, params: dict[str, Any], value: float, prune: bool
) -> optuna.trial.FrozenTrial:
    knobs = space.parameters()
    families = optuna.distributions.CategoricalDistribution(tuple(sorted(space.families)))
    known = {name: _distribution(knobs[name]) for name in params if name != "strategy"}
    curve = _curve(value, 2 if prune else EPOCHS)
    attrs: dict[str, Any] = {"epochs_run": len(curve), "seconds": float(len(curve))}
    if prune:
        attrs |= {"ended": "pruned", "why": "pruned by hand at epoch 2"}
    made = optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if prune else optuna.trial.TrialState.COMPLETE,
        value=None if prune else value,
        params=params,
        distributions={"strategy": families, **known},
        user_attrs=attrs,
        intermediate_values=curve,
    )
    made.number = number
    made.datetime_start = START + datetime.timedelta(seconds=4 * (number // 2))
    made.datetime_complete = made.datetime_start + datetime.timedelta(seconds=len(curve))
    return made


def _distribution(knob: Knob) -> optuna.distributions.BaseDistribution:
    if knob.kind == "choice":
        return optuna.distributions.CategoricalDistribution(knob.choices)
    if knob.kind == "integers":
        return optuna.distributions.IntDistribution(*knob.bounds)
    return optuna.distributions.FloatDistribution(*knob.bounds, log=knob.log)


def _effort(params: Mapping[str, Any], epochs: int) -> Effort:
    cost = _cost(params)
    return Effort(epochs, cost, int(100 * cost) * epochs, cost, {"ece": 0.1})


def _cost(params: Mapping[str, Any]) -> float:
    return 2.0 if params["strategy"] == "masd" else 1.0


def _write(folder: StudyFolder, trial: optuna.trial.FrozenTrial) -> None:
    """The folder of a trial as the driver leaves it."""
    path = folder.trial(trial.number)
    path.mkdir(parents=True)
    recipe: Recipe = folder.space.recipe(trial.params, folder.definition.recipe)
    (path / "recipe.yaml").write_text(yamlfile.dumps(recipe.mapping()), encoding="utf-8")
    cost = _cost(trial.params)
    work = {"images": 100, "forwards": int(100 * cost), "declared": {"step": cost}}
    lines = [
        {
            "epoch": epoch,
            "epochs": EPOCHS,
            "evaluated": {"val": {folder.definition.objective: at, "ece": 0.1}},
            "seconds": cost,
            "work": work,
        }
        for epoch, at in trial.intermediate_values.items()
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (path / "history.jsonl").write_text(text, encoding="utf-8")
