"""`autosd verify`: whether a study is whole."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autosd.cli import options
from autosd.cli.console import emit, people, side
from autosd.results.numbers import duration

if TYPE_CHECKING:
    from autosd.results.verify import Verified


def verify(
    study: options.Study,
    replay: Annotated[
        int | None,
        typer.Option(
            "--replay", min=0, metavar="N", help="Train trial N again; default: cheapest."
        ),
    ] = None,
    no_replay: Annotated[
        bool, typer.Option("--no-replay", help="Train none: only open and compare what is there.")
    ] = False,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Open everything of a study, say what is wrong and what helps; nothing is written.

    Definition, database, curves, recipes, checkpoints, results, students, the split of the data;
    and one complete trial is trained again on the processor, to see that its curve is the same bit
    for bit. Exit code 0: whole, 1: something is wrong.

    Examples:

    [bold]autosd verify digits[/bold]

    [bold]autosd verify digits --replay 12[/bold]
    """
    from autosd.results.verify import verify as run

    notes = side()
    found = run(
        study,
        directory,
        replay=replay,
        replays=not no_replay,
        say=lambda line: notes.print(line, markup=False, soft_wrap=True),
    )
    if as_json:
        emit(found.mapping())
    else:
        _show(found, people())
    if not found.whole:
        raise typer.Exit(1)


def _show(found: "Verified", console: Console) -> None:
    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    for fault in found.faults:
        say(f"wrong: {fault}")
    for note in found.notes:
        say(f"note: {note}")
    opened = ", ".join(f"{number:,} {kind}" for kind, number in found.checked.items())
    say(f"opened: {opened or 'nothing'}")
    again = found.replayed
    if again is not None:
        same = "the same bit for bit" if again.equal else "not the same"
        say(f"trial {again.trial} trained again: {again.epochs} epochs, {same}")
    count = len(found.faults)
    verdict = "whole" if found.whole else f"{count} thing{'s' if count > 1 else ''} wrong"
    say(f"{found.study}: {verdict} ({duration(found.seconds)})")
