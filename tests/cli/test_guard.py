"""How an interrupted command ends."""

import signal
import sys

import pytest
import typer

from autosd.cli.guard import Commands


def interrupted() -> None:
    raise KeyboardInterrupt(signal.SIGTERM)


def test_an_interruption_says_how_to_go_on_without_a_password(monkeypatch, capsys):
    app = typer.Typer(cls=Commands)
    app.callback()(lambda: None)
    app.command("search")(interrupted)
    words = ["search", "--storage", "mysql://me:geheim@db/s"]
    monkeypatch.setattr(sys, "argv", ["autosd", *words])
    with pytest.raises(SystemExit) as ended:
        app(["search"])
    assert ended.value.code == 143
    again = "autosd search --storage 'mysql://me:***@db/s'"
    assert capsys.readouterr().err == f"interrupted; to go on: {again}\n"
