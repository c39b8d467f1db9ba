"""`autosd.search`: what the command does, from a script or a notebook."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.results.api import Study
from autosd.results.found import prepare
from autosd.results.found import search as run
from autosd.results.lines import Lines
from autosd.search.definition import Words, base_values, resolve
from autosd.search.definition import seconds as seconds_of
from autosd.search.engines import EngineChoice
from autosd.search.ready import Ready
from autosd.search.study import refuse_if_run, study_path

WORDS = Words(
    {
        "name": "name",
        "recipe.data.name": "data",
        "recipe.model": "model",
        "space": "space",
        "trials": "trials",
        "recipe.epochs": "epochs",
        "time_budget": "time_budget",
        "patience": "patience",
        "sampler": "sampler",
        "pruner": "pruner",
        "slots": "slots",
        "per_trial.cpus": "cpus_per_trial",
        "per_trial.gpus": "gpus_per_trial",
        "seed": "seed",
    },
    settings="settings",
)


def search(
    study: str | Path | Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    data: str | None = None,
    model: str | None = None,
    space: str | Path | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    time_budget: str | float | None = None,
    patience: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    slots: int | None = None,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | str | None = None,
    storage: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    dir: str | Path = "runs",
    engine: EngineChoice = "ray",
    watch: Callable[[str], object] | None = None,
    fork: str | None = None,
    accept_code: bool = False,
) -> Study:
    """Begin or go on with a study, confirm its finalists and write `best/`, as `autosd search`.

    The same call goes on where it was interrupted, by Ctrl-C too. Signals are caught while it runs
    in the main thread only, and given back afterwards.

    Args:
        study: a file, a name of `autosd list studies`, the name of a study under `dir`, or the
            keys of a study file as a mapping; None is the study of `data`, or of the digits.
        name, data, model, space, trials, epochs, patience, sampler, pruner, slots, cpus_per_trial,
            gpus_per_trial, storage, seed: as the options of the command; None leaves the study's.
        time_budget: seconds after which no trial begins, or a text such as `30m`.
        settings: any other key with its value, such as `{"batch_size": 64}`.
        dir: the folder of studies.
        engine: `ray`, a `Cluster` to join, or `inline` for one trial at a time in this process.
        fork: name of a new study that begins with the finished trials of this one that fit.
        accept_code: go on with other code than the study began with; it is recorded.
        watch: takes a line of progress now and then, such as `print`; None for silence.

    Raises:
        AutosdError: what was given is not right, or another process runs the study.
        EngineLost: Ray ended; the same call goes on.
    """
    options = {
        "name": name,
        "recipe.data.name": data,
        "recipe.model": model,
        "space": None if space is None else str(space),
        "trials": trials,
        "recipe.epochs": epochs,
        "time_budget": _seconds(time_budget),
        "patience": patience,
        "sampler": sampler,
        "pruner": pruner,
        "slots": slots,
        "per_trial.cpus": cpus_per_trial,
        "per_trial.gpus": gpus_per_trial,
        "seed": seed,
    }
    root = Path(dir)
    values, where = _values(study, data, root)
    definition, fixed = resolve(values, where, options, settings or {}, WORDS)
    source = definition.name if fork else None
    if fork:
        definition = definition.model_copy(update={"name": fork})
    refuse_if_run(study_path(root, definition.name), storage)
    lines = Lines(watch or (lambda line: None), definition.objective)
    ready = _prepared(definition, fixed, root, storage, engine)
    for line in ready.advice:
        lines.say(f"note: {line}")
    found = run(
        ready,
        root,
        storage=storage,
        engine=engine,
        command=["autosd.search"],
        watch=lines,
        accept_code=accept_code,
        fork=source,
    )
    return Study(found.outcome.folder)


def _prepared(
    definition: StudyDefinition,
    fixed: Mapping[str, Any],
    root: Path,
    storage: str | None,
    engine: EngineChoice,
) -> Ready:
    """`prepare` with faults of the space in the words of this function."""
    try:
        return prepare(definition, fixed, root, storage=storage, engine=engine)
    except AutosdError as error:
        lines = [re.sub("^--set\\b", WORDS.settings, line) for line in str(error).splitlines()]
        raise AutosdError("\n".join(lines)) from None


def _values(
    study: str | Path | Mapping[str, Any] | None, data: str | None, root: Path
) -> tuple[dict[str, Any], str]:
    """The raw values of a definition and what a message calls them."""
    if isinstance(study, Mapping):
        return dict(study), "study"
    return base_values(None if study is None else str(study), data, root)


def _seconds(budget: str | float | None) -> float | None:
    if isinstance(budget, str):
        return seconds_of(budget, WORDS.options["time_budget"])
    return budget
