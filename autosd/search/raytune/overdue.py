"""Ends workers that do not come back and cannot end themselves, such as stopped processes."""

import time
from typing import Any

import ray
from ray import tune

from autosd.search.jobs import Failure, Job
from autosd.search.limit import START_SECONDS, hung

GRACE_SECONDS = 10.0
"""A worker ends itself where it can, and says where it hung."""
LOST = ("worker", "node")


class Clock:
    """How long each trial has not been heard of, by the monotonic clock."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._heard: set[str] = set()

    def begin(self, trial_id: str) -> None:
        """The trial's worker is about to begin."""
        self._since[trial_id] = time.monotonic()

    def hear(self, trial_id: str) -> None:
        """The trial has reported an epoch."""
        self.begin(trial_id)
        self._heard.add(trial_id)

    def end(self, trial_id: str) -> None:
        """The trial has ended."""
        self._since.pop(trial_id, None)
        self._heard.discard(trial_id)

    def silent(self, trial_id: str) -> float:
        """Seconds since the trial was heard of."""
        return time.monotonic() - self._since.get(trial_id, time.monotonic())

    def overdue(self, trial_id: str, job: Job) -> bool:
        """Whether its worker should have ended by itself some time ago."""
        if job.epoch_seconds is None:
            return False
        least = 0.0 if trial_id in self._heard else START_SECONDS
        return self.silent(trial_id) > max(least, job.epoch_seconds) + GRACE_SECONDS

    def judge(self, trial_id: str, job: Job, fault: Failure) -> Failure:
        """The fault of a trial whose worker is gone: it hung if it was not heard of for so long."""
        limit = job.epoch_seconds
        if fault["kind"] in LOST and limit is not None and self.silent(trial_id) >= limit:
            return hung(job)
        return fault


class Overdue(tune.Callback):  # type: ignore[misc]
    """Looks once a second, in Tune's own loop."""

    def __init__(self, desk: Any) -> None:
        self.desk, self._next = desk, 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1.0
            self.desk.look()
            for trial in trials:
                job = self.desk.jobs.get(trial.trial_id)
                if job is not None:
                    self._look(trial, job)

    def _look(self, trial: Any, job: Job) -> None:
        actor = trial.temporary_state.ray_actor
        if actor is None:  # it waits for its place, or its worker is being started
            self.desk.clock.begin(trial.trial_id)
        elif self.desk.clock.overdue(trial.trial_id, job):
            ray.kill(actor)
