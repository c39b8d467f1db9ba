"""`autosd status --watch`: a running study from another terminal, refreshed in place."""

import signal
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape

from autosd.cli.progress import picture
from autosd.results.glance import Glance, watch
from autosd.results.lines import Lines, line
from autosd.search.study import StudyFolder


def follow(study: str, directory: Path, console: Console) -> None:
    """Show a study until nobody runs it, or until Ctrl-C; writes nothing."""
    folder = StudyFolder.find(study, directory)
    objective = folder.definition.objective
    show = _live if console.is_terminal else _plain
    try:
        last = show(folder, objective, console)
    except KeyboardInterrupt as interruption:
        if interruption.args not in ((), (signal.SIGINT,)):
            raise
        return  # Ctrl-C is how the watching ends
    console.print(_end(folder.name, last, objective), markup=False, soft_wrap=True)


def _live(folder: StudyFolder, objective: str, console: Console) -> Glance:
    with Live(console=console, transient=True, auto_refresh=False) as live:
        for seen in watch(folder):
            live.update(_shown(folder.name, seen, objective), refresh=True)
    return seen


def _plain(folder: StudyFolder, objective: str, console: Console) -> Glance:
    lines = Lines(lambda text: console.print(text, markup=False, soft_wrap=True), objective)
    for seen in watch(folder):
        if seen.owner is not None:
            lines.progress(seen.progress)
    return seen


def _shown(name: str, seen: Glance, objective: str) -> RenderableType:
    who = f"[dim]{escape(name)}, run by {escape(str(seen.owner))}; Ctrl-C ends the watching[/dim]"
    return Group(picture(seen.progress, objective), who)


def _end(name: str, seen: Glance, objective: str) -> str:
    return f"{line(seen.progress, objective)}\n{name}: nobody runs it"
