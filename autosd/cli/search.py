"""`autosd search`: the main job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from autosd.cli import options
from autosd.cli.console import begun, emit, people, side
from autosd.cli.log import study_log

if TYPE_CHECKING:
    from autosd.search.engines import EngineChoice
    from autosd.search.ready import Ready


def search(
    ctx: typer.Context,
    study: options.StudyFile = None,
    name: options.Name = None,
    data: options.Data = None,
    model: options.Model = None,
    space: options.Space = None,
    trials: options.Trials = None,
    epochs: options.Epochs = None,
    time_budget: options.TimeBudget = None,
    patience: options.Patience = None,
    sampler: options.Sampler = None,
    pruner: options.Pruner = None,
    slots: options.Slots = None,
    cpus_per_trial: options.Cpus = None,
    gpus_per_trial: options.Gpus = None,
    storage: options.Storage = None,
    ray_address: options.RayAddress = None,
    checkpoints: options.Checkpoints = None,
    seed: options.Seed = None,
    directory: options.Directory = options.RUNS,
    settings: options.Settings = None,
    fork: options.Fork = None,
    accept_code: options.AcceptCode = False,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
    inline: options.Inline = False,
) -> None:
    """Search for the best recipe: a study, its finalists, and the winner's student in best/.

    The same command goes on where a study was interrupted. Without arguments it runs the digits
    study.

    Examples:

    [bold]autosd search[/bold]

    [bold]autosd search --data npz:images.npz --model resnet20 --epochs 5 --trials 20[/bold]

    [bold]autosd search fashion_mnist --set batch_size=64 --set masd.mask_ratio=0.2[/bold]

    [bold]autosd search digits --space joint --fork digits2[/bold]
    """
    from autosd.cli.definition import OPTIONS, assignments, resolve
    from autosd.search.definition import base_values, seconds
    from autosd.search.study import refuse_if_run, study_path

    values, where = base_values(study, data, directory)
    words = {key: option.removeprefix("--").replace("-", "_") for key, option in OPTIONS.items()}
    given = {key: ctx.params[word] for key, word in words.items()}
    given["time_budget"] = seconds(time_budget, "--time-budget")
    definition, fixed = resolve(values, where, given, assignments(settings or ()))
    source = definition.name if fork else None
    if fork:
        definition = definition.model_copy(update={"name": fork})
    folder = study_path(directory, definition.name)
    if not dry_run:
        refuse_if_run(folder, storage)
    notes = side()
    from autosd.results.found import prepare

    engine = options.engine(inline, ray_address, checkpoints)
    ready = prepare(
        definition, fixed, directory, storage=storage, engine=engine, progress=begun(notes)
    )
    for line in ready.advice:
        notes.print(f"note: {line}", markup=False, soft_wrap=True)
    if dry_run:
        _forecast(ready, directory, source, storage, engine, as_json)
    else:
        _search(ready, directory, source, storage, accept_code, engine, as_json, notes)


def _search(
    ready: "Ready",
    directory: Path,
    source: str | None,
    storage: str | None,
    accept_code: bool,
    engine: "EngineChoice",
    as_json: bool,
    notes: Console,
) -> None:
    from autosd.cli.outcome import show
    from autosd.cli.progress import View
    from autosd.results.found import search as run
    from autosd.search.study import study_path

    folder = study_path(directory, ready.definition.name)
    with study_log(folder), View(notes, ready.definition.objective) as view:
        found = run(
            ready,
            directory,
            storage=storage,
            engine=engine,
            command=sys.argv,
            watch=view,
            accept_code=accept_code,
            fork=source,
        )
    if as_json:
        emit(found.mapping())
    else:
        show(found, directory, people())


def _forecast(
    ready: "Ready",
    directory: Path,
    source: str | None,
    storage: str | None,
    engine: "EngineChoice",
    as_json: bool,
) -> None:
    from autosd.cli.outcome import show_forecast
    from autosd.results.forecast import forecast
    from autosd.search.fork import planned
    from autosd.search.forked import told

    forking = planned(ready, directory, source, storage)
    expected = forecast(ready, directory, engine)
    if as_json:
        emit(
            {
                "definition": ready.definition.mapping(),
                "space": expected.space,
                "seconds_per_epoch": expected.seconds_per_epoch,
                "seconds": expected.seconds,
                "bytes": expected.bytes,
                "free": expected.free,
                "gpus": expected.gpus or None,
                "forked": None if forking is None else forking.mapping(),
            }
        )
        return
    if forking is not None:
        people().print(told(forking.mapping()), markup=False, soft_wrap=True)
    show_forecast(ready.definition, expected, people())
