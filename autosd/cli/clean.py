"""`autosd clean`: frees what a study no longer needs."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from autosd.cli import options
from autosd.cli.console import emit, people, table
from autosd.errors import AutosdError

if TYPE_CHECKING:
    from autosd.results.clean import Cleaned

MEGA = 1e6


def clean(
    study: options.Study,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="A part that something rests on; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is.")] = False,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Say what of a study can go, how much it frees, what is lost, and remove it if you agree.

    Without --also only what nothing needs goes: resuming, reports, ensembles and predictions work
    as before. Parts for --also: checkpoints, logits, students, cache, log. Never while the study
    runs; curves, recipes, results and the database always stay. With --json nothing is removed
    unless --yes is given.

    Examples:

    [bold]autosd clean digits[/bold]

    [bold]autosd clean digits --also students --also checkpoints --yes[/bold]
    """
    from autosd.results.clean import clean as run

    console = people(as_json)

    def agree(found: "Cleaned") -> bool:
        if not as_json:
            _show(found, console)
        if dry_run:
            return False
        return yes or (not as_json and _asked(found))

    found = run(study, directory, also=also or (), agree=agree)
    if as_json:
        emit(found.mapping())
        return
    if not any(part.wanted for part in found.parts):
        _show(found, console)
        console.print(f"{found.study}: nothing to remove", markup=False)
    elif found.removed:
        console.print(f"{found.study}: {_amount(found.bytes)} freed", markup=False)
    else:
        console.print(f"{found.study}: nothing was removed", markup=False)


def _show(found: "Cleaned", console: Console) -> None:
    made = table("part", "files", "size", "what is lost", "", numbers=("files", "size"))
    for part in found.parts:
        sign = "goes" if part.wanted else f"stays; --also {part.name}"
        cells = (part.name, f"{len(part.paths):,}", _amount(part.bytes), part.loss, sign)
        made.add_row(*map(escape, cells))
    if found.parts:
        console.print(made)


def _asked(found: "Cleaned") -> bool:
    if not sys.stdin.isatty():
        raise AutosdError("nobody can be asked here: give --yes to remove, or --dry-run to look")
    return typer.confirm(f"Remove {_amount(found.bytes)}?")


def _amount(size: int) -> str:
    return f"{size / MEGA:,.1f} MB"
