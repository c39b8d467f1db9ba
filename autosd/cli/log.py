"""Where the library's log goes: warnings to the terminal, everything to the study's `study.log`.

The library itself only calls `logging.getLogger`; the handlers are set here.
"""

import contextlib
import logging
import logging.handlers
import os
import platform
import shlex
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from autosd.cli.console import side

ROOT = logging.getLogger("autosd")
logger = logging.getLogger(__name__)

FILE = "study.log"
MOST_BYTES = 5_000_000
FORM = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
BUFFERED = 1000
LOOK_SECONDS = 1.0
"""Between two looks at the lock once the file is open; the lock file may be on a network disk."""
SAID = (__name__, "autosd.cli.progress")
"""Loggers of what the command prints anyway."""


class Terminal(logging.Handler):
    """Warnings as notes on standard error; with `--debug` every record with time and place."""

    def __init__(self, debug: bool) -> None:
        super().__init__(logging.DEBUG if debug else logging.WARNING)
        self._form = logging.Formatter(FORM if debug else "note: %(message)s")
        self.addFilter(lambda record: record.name not in SAID)

    def emit(self, record: logging.LogRecord) -> None:
        side().print(self._form.format(record), markup=False, soft_wrap=True)


@contextlib.contextmanager
def terminal(debug: bool) -> Iterator[None]:
    """Let the terminal hear what the library says, inside the block."""
    handler, before = Terminal(debug), ROOT.level
    ROOT.setLevel(logging.DEBUG if debug else logging.INFO)
    ROOT.addHandler(handler)
    try:
        yield
    finally:
        ROOT.removeHandler(handler)
        ROOT.setLevel(before)


def debugging() -> bool:
    """Whether `--debug` was given."""
    return ROOT.isEnabledFor(logging.DEBUG)


class StudyLog(logging.Handler):
    """`study.log` of a study, written only once this process holds the study's lock.

    What was said before is kept until then, and lost where the lock never comes: another process
    that runs the study has the file to itself. At most two files of 5 MB.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._early: deque[logging.LogRecord] = deque(maxlen=BUFFERED)
        self._file: logging.Handler | None = None
        self._looked = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or keep it until the file may be opened."""
        if self._file is not None and time.monotonic() < self._looked + LOOK_SECONDS:
            self._file.handle(record)
            return
        self._looked, owner = time.monotonic(), _owner(self.folder)
        if self._file is None and owner != _this_process():
            self._early.append(record)
            return
        if owner not in (None, _this_process()):  # the study was taken over: the file is another's
            return
        if self._file is None:
            self._file = _File(self.folder / FILE)
            while self._early:
                self._file.handle(self._early.popleft())
        self._file.handle(record)

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._file is not None:
            self._file.close()
        super().close()


def _owner(folder: Path) -> tuple[str, int] | None:
    """Host and process that hold a study's lock."""
    from autosd.search.lock import read_owner

    owner = read_owner(folder / ".lock")
    return None if owner is None else (owner.host, owner.pid)


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


class _File(logging.handlers.RotatingFileHandler):
    """A full disk must not end a search that could still save its trials.

    The file is opened with the first record, so that every fault of it is one of a record.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MOST_BYTES, backupCount=1, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter(FORM))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Leave the record out."""

    def close(self) -> None:
        """Close the file; what the disk does not take by then is left out."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def study_log(folder: Path) -> Iterator[None]:
    """Write the log of a command that drives a study to its folder, how it ended included."""
    handler = StudyLog(folder)
    ROOT.addHandler(handler)
    _begin()
    try:
        yield
        logger.info("done")
    except BaseException as error:
        _end(error)
        raise
    finally:
        ROOT.removeHandler(handler)
        handler.close()


def study_to_drive(name: str, directory: Path) -> Path:
    """The folder of a study, refused at once where somebody else drives it."""
    from autosd.results.stopping import lock_of
    from autosd.search.study import refuse_if_run

    folder = lock_of(name, directory).parent
    refuse_if_run(folder)
    return folder


def _begin() -> None:
    from autosd.search.address import shown_word

    command = shlex.join(["autosd", *map(shown_word, sys.argv[1:])])
    place = f"process {os.getpid()} on {socket.gethostname()}, Python {platform.python_version()}"
    logger.info("autosd %s: %s (%s)", metadata.version("autosd"), command, place)


def _end(error: BaseException) -> None:
    """A bug leaves its traceback in the log; what was said to the user leaves its message."""
    from autosd.errors import AutosdError, Stopped
    from autosd.search.blame import halted

    error = halted(error) or error
    if isinstance(error, KeyboardInterrupt):
        logger.info("interrupted by signal %s", *(error.args[:1] or ("2",)))
    elif isinstance(error, Stopped):
        logger.info("%s", error)
    elif isinstance(error, AutosdError):
        logger.error("ended: %s", error)
    else:
        logger.error("ended by an error", exc_info=error)
