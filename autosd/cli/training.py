"""`autosd train` and `autosd retrain`: recipes that are known, trained to their end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from autosd.cli import options
from autosd.cli.console import emit, near, people, side, table
from autosd.cli.log import study_log, study_to_drive
from autosd.errors import WorkFailed
from autosd.results.numbers import duration, percent

if TYPE_CHECKING:
    from autosd.results.retrain import Done
    from autosd.results.train import Trained
    from autosd.training.report import EpochReport


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE.yaml", help="As `autosd best STUDY --yaml` writes it.")
    ],
    test: Annotated[
        bool, typer.Option("--test", help="Read the test part, once, at the end.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the result.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores; default: all of them.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Train one recipe and keep its student; the same command goes on after an interruption.

    Example: [bold]autosd best digits --yaml best.yaml && autosd train best.yaml --test[/bold]
    """
    from autosd.results.train import train as run

    notes = side()
    trained = run(recipe, out, test=test, threads=cpus, watch=lambda report: _epoch(report, notes))
    for warning in trained.warnings:
        notes.print(f"note: {warning}", markup=False)
    if as_json:
        emit(
            {
                **trained.metrics,
                "epochs": trained.epochs,
                "images_per_s": round(trained.images_per_second, 1),
                "model_dir": str(trained.folder),
            }
        )
        return
    _show_trained(trained, people())


def _epoch(report: "EpochReport", console: Console) -> None:
    shown = ", ".join(f"{part} {percent(of['top1'])}" for part, of in report.evaluated.items())
    console.print(
        f"epoch {report.epoch}/{report.epochs}: loss {report.train['loss']:.3f}, {shown}, "
        f"{report.images_per_second:,.0f} images/s",
        markup=False,
        soft_wrap=True,
    )


def _show_trained(trained: "Trained", console: Console) -> None:
    numbers = ("images", "top-1", "top-5", "NLL", "ECE")
    made = table("part", *numbers, numbers=numbers)
    for part, values in trained.metrics.items():
        images = trained.images[part]
        made.add_row(
            part,
            f"{images:,}",
            percent(values["top1"], images),
            percent(values["top5"], images),
            f"{values['nll']:.3f}",
            f"{values['ece']:.3f}",
        )
    console.print(made)
    console.print(
        f"student: {trained.folder}   (Python: autosd.load({str(trained.folder)!r}))",
        markup=False,
        soft_wrap=True,
    )


def retrain(
    study: options.Study,
    top: Annotated[
        int, typer.Option(min=1, max=50, help="Confirmed recipes, best on select first.")
    ] = 1,
    seeds: options.Seeds = 3,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Other number of epochs than the study's.")
    ] = None,
    slots: options.RunSlots = None,
    ray_address: options.RayAddress = None,
    checkpoints: options.Checkpoints = None,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
    inline: options.Inline = False,
) -> None:
    """Train the best confirmed recipes and what they have to beat on all training data.

    Beside them: their published defaults, cross-entropy and the study's best control. Paired
    seeds, last epoch, test read once per run. Writes the study's best/ anew.

    Example: [bold]autosd retrain digits --top 2 --seeds 5[/bold]
    """
    folder = study_to_drive(study, directory)
    from autosd.cli.progress import View
    from autosd.results.retrain import retrain as run

    with study_log(folder), View(side()) as view:
        done = run(
            study,
            directory,
            top=top,
            seeds=seeds,
            epochs=epochs,
            slots=slots,
            watch=view,
            engine=options.engine(inline, ray_address, checkpoints),
        )
    if as_json:
        emit(done.mapping())
    else:
        _show_retrained(done, people())
    failed = [row.recipe for row in done.table.rows if row.failed]
    if failed:
        raise WorkFailed(f"no result from runs of: {', '.join(failed)}; see error.txt")


def _show_retrained(done: "Done", console: Console) -> None:
    from autosd.results.retrain_grids import grids

    for grid in grids(done.table):
        console.print(f"{grid.title}:", markup=False, style="bold")
        made = table(*grid.columns, numbers=grid.numbers)
        for cells in grid.rows:
            made.add_row(*(escape(cell) for cell in cells))
        console.print(made)
        console.print()
    for line in done.table.sentences:
        console.print(line, markup=False)
    console.print(
        f"student of the winner: {near(done.model_dir)}  ({duration(done.seconds)})",
        markup=False,
        soft_wrap=True,
    )
