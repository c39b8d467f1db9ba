"""The end of a search as a person reads it: families, finalists, the winner, what to type next."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autosd import yamlfile
from autosd.cli.console import near, table
from autosd.recipe import StudyDefinition
from autosd.results.numbers import duration, mean_and_sd, metric, percent, unless_top1
from autosd.results.wording import against, amount

if TYPE_CHECKING:
    from autosd.results.forecast import Forecast
    from autosd.results.found import Found


def show(found: "Found", directory: Path, console: Console) -> None:
    """Print everything a search ends with."""
    outcome = found.outcome
    counts, folder = outcome.counts, outcome.folder
    if not outcome.worked:
        console.print(f"Study {folder.name} is complete already; nothing was left to do.\n")
    named = unless_top1(found.objective)
    console.print(f"[bold]Families[/bold] (search, best{named} of their trials on val)")
    console.print(families(found))
    if found.comparisons:
        seeds = len(found.comparisons[0].finalist.values)
        console.print(
            f"\n[bold]Finalists[/bold] ({seeds} fresh seeds,{named} on select, which the search "
            "never saw)"
        )
        console.print(finalists(found))
        console.print()
        console.print(f"{found.winner_line}\n{found.verdict}", markup=False)
    console.print()
    use = "" if outcome.use.share is None else f"; slots busy {percent(outcome.use.share)}"
    console.print(
        f"{counts.counted} trials ({counts.complete} complete, {counts.pruned} pruned, "
        f"{counts.failed} failed) in {duration(outcome.seconds)}{use}",
        markup=False,
    )
    if outcome.ended:
        console.print(f"{outcome.ended[:1].upper()}{outcome.ended[1:]}.", markup=False)
    _say_what_next(found, directory, console)


def families(found: "Found") -> Table:
    """The leaderboard per family, cross-entropy among them."""
    objective, images = found.objective, _images(found, "val")
    numbers = ("best", "to CE", "trial", "complete", "pruned", "failed")
    made = table("family", *numbers, numbers=numbers)
    for row in found.rows:
        made.add_row(
            escape(row.family),
            metric(row.value, objective, images),
            "-" if row.gain is None else amount(row.gain, objective).split()[0],
            "-" if row.trial is None else str(row.trial),
            str(row.complete),
            str(row.pruned),
            str(row.failed),
        )
    return made


def finalists(found: "Found") -> Table:
    """Finalists with their spread and their difference to cross-entropy."""
    objective, images = found.objective, _images(found, "select")
    made = table("recipe", "mean ± sd", "to CE (95 % interval)", "verdict")
    for number, row in enumerate(found.comparisons):
        one, difference = row.finalist, row.difference
        missing = "" if one.n == len(one.values) else f", {one.n} of {len(one.values)} seeds"
        made.add_row(
            escape(one.label),
            mean_and_sd(one.mean, one.sd, objective, images) + missing,
            "" if difference is None else against(difference, objective),
            row.verdict,
            style="bold" if number == 0 else None,
        )
    return made


def _images(found: "Found", part: str) -> int | None:
    from autosd.results.outcome import images

    return images(found.outcome.folder, part)


def _say_what_next(found: "Found", directory: Path, console: Console) -> None:
    folder = found.outcome.folder
    where = "" if directory == Path("runs") else f" --dir {directory}"
    console.print(f"stored in {near(folder.path)}", markup=False, soft_wrap=True)
    if found.model_dir is not None and found.winner is not None:
        console.print(
            f"student of the winner ({found.winner.label}): {near(found.model_dir)}",
            markup=False,
            soft_wrap=True,
        )
    console.print("\n[bold]Next[/bold]")
    made = table("command", "what")
    made.show_header = False
    made.add_row(f"autosd retrain {folder.name} --seeds 5{where}", "all training data, on test")
    made.add_row(f"autosd best {folder.name} --yaml best.yaml{where}", "the recipe as a file")
    made.add_row(f"autosd dashboard {folder.name}{where}", "every trial in the browser")
    made.add_row(f"autosd report {folder.name}{where}", "all of it as one page to keep")
    console.print(made)


def show_forecast(definition: StudyDefinition, expected: "Forecast", console: Console) -> None:
    """Print what a study would do and take."""
    console.print(yamlfile.dumps(definition.mapping()), markup=False, soft_wrap=True)
    made = table("family", "knobs", "seconds per epoch", numbers=("knobs", "seconds per epoch"))
    for family, seconds in expected.seconds_per_epoch.items():
        made.add_row(escape(family), str(expected.space["families"][family]), f"{seconds:.2f}")
    console.print(made)
    shared = ", ".join(expected.space["training"]) or "none"
    console.print(f"parameters: {expected.space['parameters']}; shared by all: {shared}")
    if expected.gpus:
        console.print(f"GPUs: {expected.gpus}", markup=False, soft_wrap=True)
    enough = "" if expected.enough else ", which is not enough"
    console.print(
        f"{definition.trials} trials on {expected.slots} slots, finalists included: about "
        f"{duration(expected.seconds)} (pruning shortens it); about "
        f"{max(1, round(expected.bytes / 1e6)):,} MB on disk, of {expected.free / 1e6:,.0f} MB "
        f"free{enough}; nothing was written",
        soft_wrap=True,
    )
