"""`autosd trials`: every trial of a study, as a table or a CSV file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from autosd.cli import options
from autosd.cli.console import emit, people, side, table
from autosd.results.numbers import NAMES, duration, metric
from autosd.results.plain_text import one_line

if TYPE_CHECKING:
    from autosd.search.records import TrialRecord
    from autosd.search.study import StudyFolder


def trials(
    study: options.Study,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write them to a file; - is standard output."),
    ] = None,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """List the trials of a study: state, family, value, epochs, time, knobs, and why they ended.

    Example: [bold]autosd trials digits --csv trials.csv[/bold]
    """
    from autosd.errors import AutosdError
    from autosd.files import write_text
    from autosd.results.trials import row, to_csv
    from autosd.search.study import StudyFolder

    if as_json and csv == Path("-"):
        raise AutosdError("--csv -: standard output has the JSON; name a file")
    folder = StudyFolder.find(study, directory)
    records = folder.records()
    if csv == Path("-"):
        typer.echo(to_csv(records, folder.space), nl=False)
        return
    if csv is not None:
        write_text(csv, to_csv(records, folder.space))
        side().print(f"wrote {csv}", markup=False, soft_wrap=True)
    if as_json:
        objective = folder.definition.objective
        emit({"study": folder.name, "objective": objective, "trials": list(map(row, records))})
    elif csv is None:
        people().print(_table(records, folder))


def _table(records: "list[TrialRecord]", folder: "StudyFolder") -> Table:
    from autosd.results.outcome import images

    objective, count = folder.definition.objective, images(folder, "val")
    value = NAMES[objective]
    numbers = ("trial", value, "epochs", "time")
    made = table("trial", "state", "family", *numbers[1:], "knobs", "why", numbers=numbers)
    for record in records:
        made.add_row(
            str(record.number),
            record.state,
            escape(record.family),
            metric(record.value, objective, count),
            str(record.epochs_run),
            duration(record.seconds),
            escape(_knobs(record)),
            escape(one_line(record.why)),
        )
    return made


def _knobs(record: "TrialRecord") -> str:
    """Parameters with their last name only, numbers with three digits."""
    return ", ".join(
        f"{name.rsplit('.', 1)[-1]} {_short(value)}"
        for name, value in record.params.items()
        if name != "strategy"
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
