"""`autosd status`, `best` and `dashboard`: what a study has found so far."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autosd.cli import options
from autosd.cli.console import emit, people, side
from autosd.errors import AutosdError
from autosd.results.numbers import metric, percent

if TYPE_CHECKING:
    from autosd.results.outcome import Winner
    from autosd.results.state import State

MOST_RETRIED = 5


def status(
    study: options.Study,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh until the run ends; nothing is written.")
    ] = False,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Say where a study stands: trials by their end, the best, what failed and why.

    Examples:

    [bold]autosd status digits[/bold]

    [bold]autosd status digits --watch[/bold]
    """
    if watch:
        _watch(study, directory, as_json)
        return
    from autosd.results.state import read

    state = read(study, directory)
    if as_json:
        emit(state.mapping())
    else:
        _show_state(state, people())


def _watch(study: str, directory: Path, as_json: bool) -> None:
    from autosd.cli.watching import follow

    if as_json:
        raise AutosdError("--watch and --json exclude each other: --json gives one moment")
    follow(study, directory, people())


def _show_state(state: "State", console: Console) -> None:
    now = state.counts
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("study", f"[bold]{escape(state.name)}[/bold]  {escape(str(state.folder))}")
    table.add_row(
        "trials",
        f"{now.counted} of {state.planned}: {now.complete} complete, "
        f"{now.pruned} pruned, {now.failed} failed",
    )
    if state.ended:
        table.add_row("end", escape(state.ended))
    if state.queued:
        table.add_row("asked", f"{state.queued} by `autosd enqueue`, tried when the plan has room")
    table.add_row("now", f"{now.running} running, {now.waiting} waiting; {escape(state.driver)}")
    if state.winner is not None:
        table.add_row("best", escape(state.winner.line))
    if state.utilisation is not None:
        table.add_row("slots", f"{percent(state.utilisation)} of their time spent training")
    if state.gpus:
        table.add_row("GPUs", escape(state.gpus))
    console.print(table)
    for failure in state.failures:
        _show_failure(failure, failure["state"], console)
    _show_retried(state.retried, console)


def _show_retried(retried: Sequence[dict[str, Any]], console: Console) -> None:
    """The last few attempts; where nodes come and go there are hundreds."""
    before, last = retried[:-MOST_RETRIED], retried[-MOST_RETRIED:]
    for failure in last:
        _show_failure(failure, "failed and was tried again", console)
    kinds = Counter(failure["kind"] for failure in before)
    if kinds:
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        console.print(f"before them, failed and tried again: {counts}", markup=False)


def _show_failure(failure: dict[str, Any], what: str, console: Console) -> None:
    where = f" ({failure['file']})" if failure["file"] else ""
    reason = failure["reason"].removeprefix(f"{what} ")  # diverged at epoch 3
    line = f"trial {failure['trial']} {what}: {reason}{where}"
    console.print(line, markup=False, soft_wrap=True)


def best(
    study: options.Study,
    yaml: Annotated[
        Path | None, typer.Option("--yaml", metavar="FILE", help="Write the recipe to a file.")
    ] = None,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Show the best recipe of a study, and write it as a file that `autosd train` takes.

    Example: [bold]autosd best digits --yaml best.yaml[/bold]
    """
    from autosd import yamlfile
    from autosd.files import write_text
    from autosd.results.state import read

    state = read(study, directory)
    won = state.need_winner()
    text = yamlfile.dumps(won.recipe.mapping())
    if yaml is not None:
        write_text(yaml, text)
        side().print(f"wrote {yaml}", markup=False, soft_wrap=True)
    if as_json:
        emit(best_mapping(won, state.model_dir))
        return
    console = people()
    console.print(won.line, markup=False, soft_wrap=True)
    if won.search_value is not None and won.confirmed:
        value = metric(won.search_value, won.score.objective)
        console.print(
            f"in the search (val, chosen as the best of many): {value}",
            markup=False,
            soft_wrap=True,
        )
    if state.model_dir is not None:
        console.print(f"student: {state.model_dir}", markup=False, soft_wrap=True)
    if yaml is None:
        console.print()
        console.print(text, markup=False, end="", soft_wrap=True)


def best_mapping(won: "Winner", model_dir: Path | None) -> dict[str, Any]:
    """The JSON of `autosd best`."""
    return {
        "trial": won.trial,
        "value": won.score.value,
        "sd": won.score.sd,
        "n": won.score.n,
        "confirmed": won.confirmed,
        "search_value": won.search_value,
        "strategies": list(won.strategies),
        "recipe": won.recipe.mapping(),
        "params": won.params,
        "model_dir": None if model_dir is None else str(model_dir),
    }


def dashboard(
    study: options.Study,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_edits: Annotated[
        bool, typer.Option("--allow-edits", help="Let notes be edited and studies be deleted.")
    ] = False,
    directory: options.Directory = options.RUNS,
) -> None:
    """Serve the live dashboard of a study, read-only, on this machine only.

    Example: [bold]autosd dashboard digits --port 8080[/bold]
    """
    from autosd.results.dashboard import LOOPBACK, serve

    notes = side()
    if host not in LOOPBACK:
        notes.print(
            f"warning: {host} shows the study to everyone who can reach this machine; "
            "there is no password",
            markup=False,
            soft_wrap=True,
        )
    serve(
        study,
        directory,
        host=host,
        port=port,
        allow_edits=allow_edits,
        say=lambda text: notes.print(text, markup=False, soft_wrap=True),
    )
