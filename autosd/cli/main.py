"""The command line: assembles the commands; heavy imports happen inside them."""

from importlib import metadata
from typing import Annotated

import typer

from autosd.cli import (
    clean,
    compare,
    doctor,
    enqueue,
    ensemble,
    evaluate,
    export,
    inspect,
    listing,
    predict,
    report,
    retry,
    search,
    stop,
    studies,
    training,
    trials,
    verify,
)
from autosd.cli.guard import Commands, catch_signals
from autosd.cli.log import terminal

app = typer.Typer(
    cls=Commands,
    help="Search for the best self-distillation recipe for your data and network.",
    epilog="Start with `autosd search`: a two-minute study of handwritten digits.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"autosd {metadata.version('autosd')}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which autosd.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and every step of the log.")
    ] = False,
) -> None:
    ctx.with_resource(terminal(debug))
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


app.command("search")(search.search)
app.command("status")(studies.status)
app.command("stop")(stop.stop)
app.command("retry")(retry.retry)
app.command("verify")(verify.verify)
app.command("clean")(clean.clean)
app.command("trials")(trials.trials)
app.command("enqueue")(enqueue.enqueue)
app.command("best")(studies.best)
app.command("dashboard")(studies.dashboard)
app.command("train")(training.train)
app.command("retrain")(training.retrain)
app.command("compare")(compare.compare)
app.command("ensemble")(ensemble.ensemble)
app.command("report")(report.report)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("evaluate")(evaluate.evaluate)
app.command("inspect")(inspect.inspect)
app.command("list")(listing.show)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point of the `autosd` command."""
    catch_signals()
    app()
