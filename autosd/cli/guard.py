"""How a command ends: one clear line and the right exit code for everything but a bug."""

import shlex
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from autosd.errors import AutosdError

INTERRUPTED = 130
TERMINATED = 143
_received: list[int] = []


def _raise(number: int, frame: FrameType | None) -> None:
    """Turn a signal into the interruption that every layer below already knows."""
    _received.append(number)
    raise KeyboardInterrupt


def catch_signals() -> None:
    """Let TERM and HUP stop a command as Ctrl-C does: swept, resumable, without a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise)


def exit_code_of_interruption() -> int:
    """143 after TERM or HUP, 130 after Ctrl-C."""
    return TERMINATED if _received else INTERRUPTED


class Commands(TyperGroup):
    """The group of all commands; turns what went wrong into a message and an exit code."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        extra["standalone_mode"] = False
        try:
            code = super().main(arguments, **extra)
        except AutosdError as error:
            code = _say(str(error), error.exit_code)
        except typer.TyperException as error:
            code = _say(error.format_message(), 2)
        except typer.Abort:
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            again = shlex.join(["autosd", *sys.argv[1:]])
            print(f"\ninterrupted; to go on: {again}", file=sys.stderr)
            return exit_code_of_interruption()


def _say(message: str, code: int) -> int:
    """Print every line of a message with `error: ` before it."""
    for line in message.strip().splitlines():
        print(f"error: {line}", file=sys.stderr)
    return code
