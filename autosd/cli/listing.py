"""`autosd list`: what can be chosen."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from autosd.cli import options
from autosd.cli.console import emit, people, table


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
    columns = list(entries[0]) if entries else ["name"]
    made = table(*columns)
    for entry in entries:
        made.add_row(*(escape(str(entry[column])) for column in columns))
    return made


def _strategies(entries: list[dict[str, Any]]) -> Table:
    made = table("strategy", "cost", "knobs (default)", "reference", numbers=("cost",))
    for entry in entries:
        knobs = ", ".join(f"{knob['name']} ({knob['default']})" for knob in entry["knobs"])
        made.add_row(
            entry["name"], f"{entry['cost']['step']:.2f}", knobs or "-", escape(entry["reference"])
        )
    return made
