"""`autosd doctor`: what the machine offers and what to do about what is missing."""

from dataclasses import asdict

import typer
from rich.markup import escape
from rich.table import Table

from autosd.cli import options
from autosd.cli.console import emit, people


def doctor(
    directory: options.Directory = options.RUNS,
    ray_address: options.RayAddress = None,
    checkpoints: options.Checkpoints = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what this machine offers a study, and what to do about what is missing.

    With --ray-address also whether every node of that cluster can do a study's work.

    Example: [bold]autosd doctor[/bold]
    """
    from autosd.results.machine import examine, examine_cluster
    from autosd.search.cluster import chosen

    cluster = chosen(ray_address, checkpoints)
    here = examine(directory)
    findings = here if cluster is None else [*here, *examine_cluster(cluster)]
    if as_json:
        emit({"findings": [asdict(finding) for finding in findings]})
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        sign = "[green]ok[/green]" if finding.ok else "[yellow]note[/yellow]"
        advice = f" [dim]({escape(finding.advice)})[/dim]" if finding.advice else ""
        table.add_row(sign, finding.name, escape(finding.found) + advice)
    people().print(table)
    if not all(finding.ok for finding in here):
        typer.echo("On this machine a study runs all the same; the notes say what would help.")
