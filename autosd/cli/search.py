"""`autosd search`: the main job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from autosd.cli import options
from autosd.cli.console import emit, people, side

if TYPE_CHECKING:
    from autosd.search.run import Ready


def search(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY.yaml]",
            help="A study file, or a name of `autosd list studies`.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the study and its folder.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="A known name, npz:PATH or folder:PATH.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A known name, or a timm backbone.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="SPACE", help="A space by name, or its file.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials in all, not more of them.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial.")] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="No new trial after it: 90s, 30m, 2h."),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Who proposes trials; see `autosd list samplers`.")
    ] = None,
    pruner: Annotated[
        str | None, typer.Option(help="Who stops trials early; see `autosd list pruners`.")
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Trials at the same time.")] = None,
    cpus_per_trial: Annotated[int | None, typer.Option(help="Cores of each trial.")] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs of each trial; 0.5 lets two share one.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A database server; default: a file in the folder."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the sampler and of every trial.")
    ] = None,
    directory: options.Directory = options.RUNS,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and how long it takes.")
    ] = False,
    as_json: options.AsJson = False,
    inline: Annotated[bool, typer.Option("--inline", hidden=True)] = False,
) -> None:
    """Search for the best recipe: a study, its finalists, and the winner's student in best/.

    The same command goes on where a study was interrupted. Without arguments it runs the digits
    study.

    Examples:

    [bold]autosd search[/bold]

    [bold]autosd search --data npz:images.npz --model resnet20 --epochs 5 --trials 20[/bold]

    [bold]autosd search fashion_mnist --set batch_size=64 --set masd.mask_ratio=0.2[/bold]
    """
    from autosd.cli.definition import assignments, base_values, resolve, seconds

    values, where = base_values(study, data, directory)
    given = {
        "name": name,
        "recipe.data.name": data,
        "recipe.model": model,
        "space": space,
        "trials": trials,
        "recipe.epochs": epochs,
        "time_budget": seconds(time_budget),
        "sampler": sampler,
        "pruner": pruner,
        "slots": slots,
        "per_trial.cpus": cpus_per_trial,
        "per_trial.gpus": gpus_per_trial,
        "seed": seed,
    }
    definition, fixed = resolve(values, where, given, assignments(settings or ()))
    notes = side()

    from autosd.search.engines import slots_for
    from autosd.search.run import check
    from autosd.search.store import storage_url

    slots_for(definition.slots, definition.per_trial)
    storage_url(directory / definition.name, storage)
    ready = check(definition, fixed, progress=_telling(notes))
    for line in ready.advice:
        notes.print(f"note: {line}", markup=False)
    if dry_run:
        _forecast(ready, as_json)
        return
    _search(ready, directory, storage, inline, as_json, notes)


def _search(
    ready: "Ready",
    directory: Path,
    storage: str | None,
    inline: bool,
    as_json: bool,
    notes: Console,
) -> None:
    from autosd.cli.outcome import show
    from autosd.cli.progress import View
    from autosd.results.found import search as run

    with View(notes, ready.definition.objective) as view:
        found = run(
            ready,
            directory,
            storage=storage,
            engine="inline" if inline else "ray",
            command=sys.argv,
            watch=view,
        )
    if as_json:
        emit(found.mapping())
    else:
        show(found, directory, people())


def _forecast(ready: "Ready", as_json: bool) -> None:
    from autosd.cli.outcome import show_forecast
    from autosd.results.forecast import forecast

    expected = forecast(ready)
    if as_json:
        emit(
            {
                "definition": ready.definition.mapping(),
                "space": expected.space,
                "seconds_per_epoch": expected.seconds_per_epoch,
                "seconds": expected.seconds,
                "bytes": expected.bytes,
            }
        )
        return
    show_forecast(ready.definition, expected, people())


def _telling(notes: Console) -> Any:
    """Progress of reading data: a line when something begins that takes long."""
    begun: set[str] = set()

    def tell(what: str, done: int, count: int) -> None:
        if what not in begun:
            begun.add(what)
            notes.print(f"{what} ({count:,})", markup=False, soft_wrap=True)

    return tell
