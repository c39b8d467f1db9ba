"""A limit on the time of an epoch, for workers in processes of their own.

Python's fault handler ends the process from a thread that needs no interpreter lock, so it ends one
that hangs in foreign code as well, and first writes down where every thread stands.
"""

import faulthandler
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autosd.search.jobs import Failure, Job, failure

TRACE = ".hang"
"""File in the folder of a run, there during a step only, or where a step did not end."""
START_SECONDS = 3600.0
"""Data have to be read and networks built before the first epoch: that may take an hour."""


@contextmanager
def limited(job: Job, least: float = 0.0) -> Iterator[None]:
    """End this process where the block takes longer than an epoch may, and than `least` seconds."""
    if job.epoch_seconds is None:
        yield
        return
    path = Path(job.folder) / TRACE
    seen = path.parent.is_dir()  # else the driver is on another machine and will not look
    with (path if seen else Path(os.devnull)).open("wb") as file:
        faulthandler.dump_traceback_later(max(least, job.epoch_seconds), exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    path.unlink(missing_ok=True)


def hung(job: Job) -> Failure:
    """The failure of a job whose epoch takes longer than it may, with where it stood if known."""
    path = Path(job.folder) / TRACE
    trace = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    path.unlink(missing_ok=True)
    why = f"hung: an epoch took longer than {job.epoch_seconds:g} s (epoch_seconds)"
    return failure("hung", why, trace)
