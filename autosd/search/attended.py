"""What every engine does around a bridge: ends what must end, says why, and writes the log."""

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

from autosd.errors import Stopped
from autosd.search.blame import resumable
from autosd.search.jobs import DONE, Answer, Bridge, Failure, Job, Result, failure
from autosd.search.limit import hung
from autosd.search.lock import StudyLock, holding
from autosd.search.progress import Watch
from autosd.search.requests import Lookout, StopRequest, withdraw

logger = logging.getLogger(__name__)


TIMES_LONGEST = 10
LEAST_SECONDS = 1800.0
"""Where the study sets no limit, an epoch hangs after ten times the longest one seen so far, and
not before half an hour."""


class Attended:
    """A bridge that hands out nothing more once somebody has asked for the end of the run.

    Epochs in progress are finished and recorded; their runs are handed back as interrupted, with
    their checkpoints. An urgent request interrupts this process as SIGTERM would. Nothing reaches
    the bridge any more once another process has taken over the study.

    Every job is told how long an epoch may take. An engine whose workers are processes of their own
    ends one that takes longer; in this process that can only be seen when the epoch is over.
    """

    def __init__(self, bridge: Bridge, watch: Watch) -> None:
        self.bridge, self.watch = bridge, watch
        self._lookout: Lookout | None = None
        self._lock: StudyLock | None = None
        self._cut: dict[str, Failure] = {}
        self._longest = 0.0
        self._ended = False

    def ask(self) -> Answer:
        if self._request is not None:
            self._ended = True
            return DONE
        self._check_lock()
        with resumable():
            answer = self.bridge.ask()
        if isinstance(answer, Job):
            self._look_out(answer)
            logger.info("%s begins (%s)", _name(answer), ", ".join(answer.strategies))
            return replace(answer, epoch_seconds=answer.epoch_seconds or self._generous)
        return answer

    def report(self, job: Job, result: Result) -> bool:
        self._check_lock()
        _log_epoch(job, result)
        self._longest = max(self._longest, result["seconds"])
        with resumable():
            go_on = self.bridge.report(job, result)
        if go_on and self._request is not None:
            self._cut[job.key] = failure("interrupted", "stopped as asked")
            self._ended = True
        elif go_on and job.epoch_seconds and result["seconds"] > job.epoch_seconds:
            self._cut[job.key] = hung(job)
        return go_on and job.key not in self._cut

    def complete(self, job: Job, result: Result | None, error: Failure | None) -> None:
        self._check_lock()
        cut = self._cut.pop(job.key, None)
        error = error or cut
        _log_end(job, result, error)
        with resumable():
            self.bridge.complete(job, result, error)

    def close(self) -> None:
        if self._lookout is not None:
            self._lookout.over.set()
            if self._ended:  # else the request is for what this process does next
                withdraw(self._lookout.lock, self._lookout.token)
        with resumable():
            self.bridge.close()

    def check(self) -> None:
        """To be called after the run.

        Raises:
            Stopped: something was left undone because the end was asked for.
            TakenOver: another process has the study by now.
        """
        self._check_lock()
        if self._ended and self._request is not None:
            raise Stopped(f"stopped as {self._request.by} asked; everything is kept")

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    @property
    def _generous(self) -> float | None:
        """What no epoch takes that does not hang; None before the first one is over."""
        return max(LEAST_SECONDS, TIMES_LONGEST * self._longest) if self._longest else None

    @property
    def _request(self) -> StopRequest | None:
        return None if self._lookout is None else self._lookout.request

    def _look_out(self, job: Job) -> None:
        """Begin to look for requests: the first job says where and with which token."""
        if self._lookout is None and job.lock:
            self._lookout = Lookout(Path(job.lock), job.token, self._heard)
            self._lookout.start()
            self._lock = holding(Path(job.lock))

    def _heard(self, request: StopRequest) -> None:
        interrupted = request.now and _interrupt()
        what = "ends now" if interrupted else "the epochs in progress are finished and kept"
        self.watch.say(f"asked to stop by {request.by}: {what}")


def _interrupt() -> bool:
    """Signal this very process, if it has a handler for it; the default one would kill it."""
    if not callable(signal.getsignal(signal.SIGTERM)):
        return False
    os.kill(os.getpid(), signal.SIGTERM)
    return True


def _name(job: Job) -> str:
    return job.key if job.number is None else f"{job.key} (trial {job.number})"


def _log_epoch(job: Job, result: Result) -> None:
    for note in result.get("notes", ()):
        logger.warning("%s: %s", job.key, note)
    logger.debug("%s: epoch %d, %.2f s", job.key, result["epoch"], result["seconds"])


def _log_end(job: Job, result: Result | None, error: Failure | None) -> None:
    if result is not None and result["done"]:
        _log_epoch(job, result)
    found = error or (result["failure"] if result is not None else None)
    if found is not None:
        logger.info("%s ended: %s: %s", _name(job), found["kind"], found["why"])
        if found["traceback"]:
            logger.debug("%s\n%s", job.key, found["traceback"])
    elif result is not None and result["done"]:
        logger.info("%s is complete after epoch %d", _name(job), result["epoch"])
    else:
        epoch = "before its first epoch" if result is None else f"at epoch {result['epoch']}"
        logger.info("%s was ended %s", _name(job), epoch)
