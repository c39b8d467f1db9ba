"""The end of a search as a person reads it: families, finalists, the winner, what to type next."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autosd import yamlfile
from autosd.cli.words import duration, metric, percent
from autosd.recipe import StudyDefinition
from autosd.results.wording import amount, interval

if TYPE_CHECKING:
    from autosd.results.forecast import Forecast
    from autosd.results.found import Found


def show(found: "Found", directory: Path, console: Console) -> None:
    """Print everything a search ends with."""
    outcome = found.outcome
    counts, folder = outcome.counts, outcome.folder
    if not outcome.worked:
        console.print(f"Study {folder.name} is complete already; nothing was left to do.\n")
    console.print("[bold]Families[/bold] (search, best of their trials on val)")
    console.print(families(found))
    if found.comparisons:
        console.print(
            "\n[bold]Finalists[/bold] (fresh seeds, on select, which the search never saw)"
        )
        console.print(finalists(found))
        console.print()
        console.print(found.verdict, markup=False)
    console.print()
    use = "" if outcome.use.share is None else f"; slots busy {percent(outcome.use.share)}"
    console.print(
        f"{counts.counted} trials ({counts.complete} complete, {counts.pruned} pruned, "
        f"{counts.failed} failed) in {duration(outcome.seconds)}{use}",
        markup=False,
    )
    _say_what_next(found, directory, console)


def families(found: "Found") -> Table:
    """The leaderboard per family, cross-entropy among them."""
    objective, images = found.objective, _images(found, "val")
    table = Table(box=None, pad_edge=False)
    for column in ("family", "best", "to CE", "trial", "complete", "pruned", "failed"):
        table.add_column(column, justify="left" if column == "family" else "right")
    for row in found.rows:
        table.add_row(
            escape(row.family),
            metric(row.value, objective, images),
            "-" if row.gain is None else amount(row.gain, objective).split()[0],
            "-" if row.trial is None else str(row.trial),
            str(row.complete),
            str(row.pruned),
            str(row.failed),
        )
    return table


def finalists(found: "Found") -> Table:
    """Finalists with their spread and their difference to cross-entropy."""
    objective, images = found.objective, _images(found, "select")
    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "mean", "sd", "seeds", "to CE", "95 % interval", "verdict"):
        table.add_column(column, justify="left" if column in ("recipe", "verdict") else "right")
    for number, row in enumerate(found.comparisons):
        one, difference = row.finalist, row.difference
        reference = one.label == "cross_entropy"
        sd = "-" if one.sd is None else metric(one.sd, objective, images).removesuffix(" %")
        table.add_row(
            escape(one.label),
            metric(one.mean, objective, images),
            sd,
            str(one.n),
            "-"
            if difference is None or reference
            else amount(difference.mean, objective).split()[0],
            "-" if difference is None or reference else interval(difference, objective),
            "reference" if reference else row.verdict,
            style="bold" if number == 0 else None,
        )
    return table


def _images(found: "Found", part: str) -> int | None:
    from autosd.results.outcome import images

    return images(found.outcome.folder, part)


def _say_what_next(found: "Found", directory: Path, console: Console) -> None:
    folder = found.outcome.folder
    where = "" if directory == Path("runs") else f" --dir {directory}"
    console.print(f"stored in {_near(folder.path)}", markup=False, soft_wrap=True)
    if found.model_dir is not None and found.winner is not None:
        console.print(
            f"student of the winner ({found.winner.label}): {_near(found.model_dir)}",
            markup=False,
            soft_wrap=True,
        )
    console.print("\n[bold]Next[/bold]")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(f"autosd retrain {folder.name} --seeds 5{where}", "all training data, on test")
    table.add_row(f"autosd best {folder.name} --yaml best.yaml{where}", "the recipe as a file")
    table.add_row(f"autosd dashboard {folder.name}{where}", "every trial in the browser")
    console.print(table)


def _near(path: Path) -> str:
    """A path as one would type it here."""
    shown = os.path.relpath(path)
    return str(path) if shown.startswith("..") else shown


def show_forecast(definition: StudyDefinition, expected: "Forecast", console: Console) -> None:
    """Print what a study would do and take."""
    console.print(yamlfile.dumps(definition.mapping()), markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("family", "knobs", "seconds per epoch"):
        table.add_column(column, justify="left" if column == "family" else "right")
    for family, seconds in expected.seconds_per_epoch.items():
        table.add_row(escape(family), str(expected.space["families"][family]), f"{seconds:.2f}")
    console.print(table)
    shared = ", ".join(expected.space["training"]) or "none"
    console.print(f"parameters: {expected.space['parameters']}; shared by all: {shared}")
    console.print(
        f"{definition.trials} trials on {expected.slots} slots, finalists included: at most "
        f"{duration(expected.seconds)} (pruning shortens it); about "
        f"{max(1, round(expected.bytes / 1e6)):,} MB on disk; nothing was written",
        soft_wrap=True,
    )
