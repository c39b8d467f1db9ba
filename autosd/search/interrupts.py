"""Signals that end a run: once, as an exception, and never in the middle of a record."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_held = 0
_pending: int | None = None


@contextmanager
def raised() -> Iterator[None]:
    """Turn the first INT, TERM or HUP into `KeyboardInterrupt(signal number)`.

    Later ones are ignored until the block is left, so that clearing up is never cut short.
    Outside of the main thread Python allows no handlers and nothing is changed.
    """
    global _pending
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _pending = None
    before = {number: signal.signal(number, _on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Let a signal wait until the block is left: a record is written whole or not begun."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _pending is not None and not _held:
        _raise()


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _pending
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    _pending = number
    if not _held:
        _raise()


def _raise() -> None:
    global _pending
    number, _pending = _pending, None
    raise KeyboardInterrupt(number)
