"""How a command ends: one clear line and the right exit code for everything but a bug."""

import errno
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from autosd.cli.console import printable
from autosd.cli.log import debugging
from autosd.errors import AutosdError, NotAllowed, Stopped

INTERRUPTED = 130
TERMINATED = 143
MOST_LINES = 50
DENIED = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR}
"""Numbers of system errors that speak of a path, not of a fault of the disk or of autosd."""


def _raise(number: int, frame: FrameType | None) -> None:
    """Turn a signal into the interruption that every layer below already knows."""
    raise KeyboardInterrupt(number)


def catch_signals() -> None:
    """Let TERM and HUP stop a command as Ctrl-C does: swept, resumable, without a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise)


def exit_code_of(interruption: KeyboardInterrupt) -> int:
    """143 after TERM or HUP, 130 after Ctrl-C."""
    number = interruption.args[0] if interruption.args else signal.SIGINT
    return INTERRUPTED if number == signal.SIGINT else TERMINATED


class Commands(TyperGroup):
    """The group of all commands; turns what went wrong into a message and an exit code."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Run a command and exit with its code."""
        extra["standalone_mode"] = False
        try:
            code = super().main(
                _debug_first(sys.argv[1:] if args is None else args), *more, **extra
            )
        except AutosdError as error:
            code = _say(str(error), error.exit_code)
        except typer.TyperException as error:
            code = _say(error.format_message(), 2)
        except typer.Abort:
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an interruption ends it with a line that says how to go on."""
        try:
            return self._invoke(ctx)
        except KeyboardInterrupt as interruption:
            _say_how_to_go_on("interrupted")
            return exit_code_of(interruption)
        except Stopped as stopped:
            _say_how_to_go_on(str(stopped))
            return stopped.exit_code

    def _invoke(self, ctx: Any) -> Any:
        """Run a command; with `--debug` every end but a good one shows where it came from."""
        try:
            return self._on_disk(ctx)
        except (AutosdError, KeyboardInterrupt):
            if debugging():
                traceback.print_exc()
            raise

    def _on_disk(self, ctx: Any) -> Any:
        """Run a command; a disk that is full or faulty is no bug, whatever it was needed for."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from autosd.search.blame import halted

            lost = halted(error) or _denied(error)
            if lost is None:
                raise
            raise lost from error


def _denied(error: Exception) -> AutosdError | None:
    """What to say where the system does not let a file be opened; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in DENIED or error.filename is None:
        return None
    return NotAllowed(
        f"{error.filename}: cannot be opened ({error.strerror}); check its name and its permissions"
    )


def _debug_first(words: Sequence[str]) -> list[str]:
    """The words of a command line with `--debug`, which may stand anywhere, in front."""
    options = list(words[: words.index("--")] if "--" in words else words)
    rest = list(words[len(options) :])
    if "--debug" not in options:
        return [*options, *rest]
    return ["--debug", *(word for word in options if word != "--debug"), *rest]


def _say_how_to_go_on(what: str) -> None:
    from autosd.search.address import shown_word

    again = shlex.join(["autosd", *map(shown_word, sys.argv[1:])])
    print(f"{what}; to go on: {again}", file=sys.stderr)


def _say(message: str, code: int) -> int:
    """Print the lines of a message with `error: ` before each; of very many only the first."""
    lines = message.strip().splitlines()
    more = [f"and {len(lines) - MOST_LINES} more"] * (len(lines) > MOST_LINES)
    for line in lines[:MOST_LINES] + more:
        print(f"error: {printable(line)}", file=sys.stderr)
    return code
