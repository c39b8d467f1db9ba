"""Progress for people: a live view on a terminal, a plain line now and then without one."""

import logging
import sys
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from autosd.results.lines import Lines
from autosd.results.numbers import duration, metric
from autosd.search.progress import Progress

logger = logging.getLogger(__name__)

MOST_ROWS = 8


class View:
    """A `Watch` of a run for a person, for the length of a `with` block."""

    def __init__(self, console: Console, objective: str = "top1") -> None:
        self.console, self.objective = console, objective
        self._live = Live(console=console, transient=True, refresh_per_second=4)
        self._lines = Lines(self.say, objective)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Show where the run stands."""
        if self.console.is_terminal:
            self._live.update(picture(progress, self.objective))
        else:
            self._lines.progress(progress)

    def say(self, line: str) -> None:
        """Print a line above the live view."""
        logger.info("%s", line)
        self.console.print(line, soft_wrap=True, markup=False)

    def lost(self, line: str) -> None:
        """Last words: written at once, since the process ends without coming back."""
        logger.error("%s", line)
        if self.console.is_terminal:
            self._live.stop()
        print(f"error: {line}", file=sys.stderr, flush=True)


def picture(progress: Progress, objective: str) -> RenderableType:
    """The live view: a bar, the counts, what runs, and the best so far."""
    head = Table.grid(padding=(0, 1))
    head.add_row(
        f"[bold]{escape(progress.stage)}[/bold]",
        ProgressBar(total=max(1, progress.planned), completed=progress.finished, width=24),
        f"{progress.finished}/{progress.planned}",
    )
    counts = (
        f"[green]{progress.complete} complete[/green]  [cyan]{progress.pruned} pruned[/cyan]  "
        f"[{'red' if progress.failed else 'dim'}]{progress.failed} failed[/]  "
        f"[dim]{progress.waiting} waiting[/dim]"
    )
    times = f"[dim]{_times(progress)}[/dim]"
    return Group(head, counts, _running(progress), _best(progress, objective), times)


def _times(progress: Progress) -> str:
    if not progress.seconds_left:
        return f"time    {duration(progress.seconds)}"
    return f"time    {duration(progress.seconds)}, about {duration(progress.seconds_left)} left"


def _running(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 1))
    for job in progress.running[:MOST_ROWS]:
        bar = ProgressBar(total=max(1, job.epochs), completed=job.epoch, width=12)
        table.add_row("running", escape(job.name), bar, f"epoch {job.epoch}/{job.epochs}")
    if len(progress.running) > MOST_ROWS:
        table.add_row("", f"and {len(progress.running) - MOST_ROWS} more", "", "")
    return table


def _best(progress: Progress, objective: str) -> str:
    if progress.best is None:
        return ""
    best = progress.best
    value = metric(best.value, objective)
    return f"best    [bold]{value}[/bold] {escape(best.family)} [dim](trial {best.trial})[/dim]"
