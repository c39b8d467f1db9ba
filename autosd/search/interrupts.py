"""Signals that end a run: once, as an exception, and never in the middle of a record."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_held = 0
_pending: int | None = None
_seen: int | None = None


@contextmanager
def raised() -> Iterator[None]:
    """Turn the first INT, TERM or HUP into `KeyboardInterrupt(signal number)`.

    Later ones are ignored until the block is left, so that clearing up is never cut short.
    Outside of the main thread Python allows no handlers and nothing is changed.
    """
    global _pending, _seen
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _pending = _seen = None
    before = {number: signal.signal(number, _on_signal) for number in SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        # A library in between may have raised one of its own, without the number.
        raise KeyboardInterrupt(_seen or signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def take_back() -> None:
    """Set the handlers of `raised` again after a library has put its own in their place."""
    if threading.current_thread() is threading.main_thread() and _seen is None:
        for number in SIGNALS:
            if signal.getsignal(number) is _on_signal:
                signal.signal(number, _on_signal)


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
    global _pending, _seen
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    _pending = _seen = number
    if not _held:
        _raise()


def _raise() -> None:
    global _pending
    number, _pending = _pending, None
    raise KeyboardInterrupt(number)
