"""`autosd list`: what can be chosen."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from autosd.cli import options
from autosd.cli.console import emit, people


class Kind(StrEnum):
    """What `autosd list` knows."""

    STRATEGIES = "strategies"
    MODELS = "models"
    DATA = "data"
    SPACES = "spaces"
    STUDIES = "studies"
    SAMPLERS = "samplers"
    PRUNERS = "pruners"


def show(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Show the strategies, models, data sets, spaces, studies, samplers or pruners there are.

    Example: [bold]autosd list strategies[/bold]
    """
    from autosd.results import catalog

    entries = catalog.studies(directory) if kind is Kind.STUDIES else catalog.LISTS[kind]()
    if as_json:
        emit({str(kind): entries})
        return
    people().print(_table(kind, entries))


def _table(kind: Kind, entries: list[dict[str, Any]]) -> Table:
    if kind is Kind.STRATEGIES:
        return _strategies(entries)
    table = Table(box=None, pad_edge=False)
    columns = list(entries[0]) if entries else ["name"]
    for column in columns:
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(*(str(entry[column]) for column in columns))
    return table


def _strategies(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("strategy", "cost", "slots", "knobs (default)", "reference"):
        table.add_column(column, overflow="fold", no_wrap=column in ("strategy", "cost"))
    for entry in entries:
        knobs = ", ".join(f"{knob['name']} ({knob['default']})" for knob in entry["knobs"])
        cost = f"x{entry['cost']['step']:.2f}"
        table.add_row(
            entry["name"], cost, ", ".join(entry["slots"]), knobs or "-", entry["reference"]
        )
    return table
