"""`autosd stop`: ends a running study from another terminal or machine."""

from typing import Annotated

import typer

from autosd.cli import options
from autosd.cli.console import emit, people, side
from autosd.results.numbers import duration


def stop(
    study: options.Study,
    now: Annotated[
        bool, typer.Option("--now", help="Give up the epochs in progress; they are repeated later.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Come back when the run has ended.")
    ] = True,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Ask the process that runs a study to finish its epochs, keep everything, and end.

    It may run anywhere that shares the folder. The same search goes on later. Where nobody runs
    the study there is nothing to do, and the exit code is 0 as well.

    Example: [bold]autosd stop digits[/bold]
    """
    from autosd.results.stopping import stop as run

    notes = side()
    ending = run(
        study,
        directory,
        now=now,
        wait=wait,
        say=lambda line: notes.print(line, markup=False, soft_wrap=True),
    )
    if as_json:
        emit(ending.mapping())
    elif ending.owner is None:
        _tell(f"{ending.study}: nobody runs it")
    elif ending.ended:
        _tell(f"{ending.study}: stopped after {duration(ending.seconds)}; everything is kept")


def _tell(line: str) -> None:
    people().print(line, markup=False, soft_wrap=True)
