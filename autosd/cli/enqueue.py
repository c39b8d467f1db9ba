"""`autosd enqueue`: a recipe of one's own as a trial of a study."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autosd.cli import complete, options
from autosd.cli.console import emit, people, side
from autosd.results.numbers import metric

if TYPE_CHECKING:
    from autosd.results.enqueue import Enqueued


def enqueue(
    study: options.Study,
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE.yaml",
            help="A recipe; what it leaves out is as in the study.",
            autocompletion=complete.yaml_file,
        ),
    ],
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Let a study try a recipe of yours, also while it runs; it is one of the planned trials.

    The recipe has to be one that the study could have drawn itself: a family of its space, every
    value in its range, everything else as in the study.

    Example: [bold]autosd enqueue digits mine.yaml[/bold]
    """
    from autosd.results.enqueue import enqueue as ask

    done = ask(study, directory, recipe)
    notes = side()
    for note in done.notes:
        notes.print(f"note: {note}", markup=False, soft_wrap=True)
    if as_json:
        emit(done.mapping())
    else:
        where = "" if directory == options.RUNS else f" --dir {shlex.quote(str(directory))}"
        show(done, where, people())


def show(done: "Enqueued", where: str, console: Console) -> None:
    """Print what became of the recipe; `where` ends a command of this study."""
    for line in _lines(done, where):
        console.print(line, markup=False, soft_wrap=True)


def _lines(done: "Enqueued", where: str) -> list[str]:
    values = ", ".join(f"{name} {value}" for name, value in done.params.items())
    if done.same_as is not None:
        same = done.same_as
        value = "" if same.value is None else f", {metric(same.value, done.objective)} on val"
        more = f"to try it again: autosd retry {done.study} --failed{where}"
        todo = more if same.state == "failed" else "nothing to try"
        return [f"trial {same.number} ({same.state}{value}) is the same: {values}; {todo}"]
    lines = [f"asked for: {values}"]
    if done.room:
        lines.append(
            f"it is one of the {done.planned} planned trials; the running search takes it up at "
            f"its next trial, otherwise the next `autosd search {done.study}{where}` does"
        )
    else:
        lines.append(
            f"the plan of {done.planned} trials is full: it waits until the study has more, as by "
            f"`autosd search {done.study} --trials {done.planned + 1 + done.ahead}{where}`"
        )
    return lines
