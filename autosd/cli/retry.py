"""`autosd retry`: another try for trials that failed."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autosd.cli import options
from autosd.cli.console import emit, people

if TYPE_CHECKING:
    from autosd.results.retrying import Retried


def retry(
    study: options.Study,
    failed: Annotated[
        bool, typer.Option("--failed", help="Those that ended by an error or with their worker.")
    ] = False,
    diverged: Annotated[
        bool, typer.Option("--diverged", help="Those whose loss became infinite or NaN.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which they are.")] = False,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Put trials that gave no result back in the queue; the next search runs them from the start.

    They count anew: the planned number of trials stays the same. A diverged trial says something of
    its recipe and diverges again on the same machine; it is left alone unless asked for.

    Example: [bold]autosd retry digits --failed[/bold]
    """
    from autosd.results.retrying import retry as run

    done = run(study, directory, failed=failed, diverged=diverged, dry_run=dry_run)
    if as_json:
        emit(done.mapping())
    else:
        _show(done, dry_run, people())


def _show(done: "Retried", dry_run: bool, console: Console) -> None:
    for one in done.trials:
        reason = one.reason.removeprefix(f"{one.state} ")  # diverged at epoch 3
        line = f"trial {one.trial} ({one.family}) {one.state}: {reason}"
        console.print(line, markup=False, soft_wrap=True)
    if not done.trials:
        console.print(f"{done.study}: no such trial; nothing to do", markup=False)
        return
    count = "1 trial" if len(done.trials) == 1 else f"{len(done.trials)} trials"
    what = "would be tried again" if dry_run else f"put in the queue; to run: {done.command}"
    console.print(f"{done.study}: {count} {what}", markup=False, soft_wrap=True)
