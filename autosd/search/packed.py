"""Jobs packed on GPUs by the memory they need, whatever bridge they are from.

A job is handed out only when it can start. One that finds no room goes back to where it is from,
and none is asked for before there is room for it: who needs a whole GPU is not passed over for
ever by those that need less.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from autosd.search.capacity import SMALLEST, Room
from autosd.search.jobs import WAIT, Answer, Failure, Job, Result, Source
from autosd.search.needs import Needs, needs_of


class Packed:
    """A bridge each of whose jobs has the share of a GPU that it needs."""

    def __init__(self, bridge: Source, gpus: Callable[[], Iterable[str]]) -> None:
        """Nothing is asked for yet.

        Args:
            bridge: where jobs are from.
            gpus: names of the GPUs that there are now.
        """
        self.bridge, self.gpus = bridge, gpus
        self.room = Room()
        self._wanted = SMALLEST
        self._needs: Needs | None = None
        self._running: dict[str, Job] = {}
        self._shrinking: set[str] = set()
        self._again: deque[Job] = deque()

    def ask(self) -> Answer:
        """The next job that there is room for, with its share; WAIT where there is none."""
        self.room.update(self.gpus())
        if self._again:
            return self._placed(self._again.popleft())
        if not self.room.fits(self._wanted):
            return WAIT
        answer = self.bridge.ask()
        return self._placed(answer) if isinstance(answer, Job) else answer

    def report(self, job: Job, result: Result) -> bool:
        """Learn what it needs; one that has more goes on from its checkpoint in what it needs."""
        self._learn(job, result)
        go_on = self.bridge.report(job, result)
        if go_on and self._running[job.key].gpus >= 1 and self._share(job) < 1:
            self._shrinking.add(job.key)
            return False
        return go_on

    def complete(self, job: Job, result: Result | None, error: Failure | None) -> None:
        """The end of a job, or of its stay on a whole GPU."""
        self.room.give(job.key)
        own, shrinks = self._running.pop(job.key), job.key in self._shrinking
        self._shrinking.discard(job.key)
        if shrinks and error is None:
            self._again.append(own)
            return
        if result is not None and result["done"]:
            self._learn(job, result)
        fault = error or (result["failure"] if result is not None else None)
        if self._needs is not None and fault is not None and _of_gpu(fault):
            self._needs.refuse(job)
        self.bridge.complete(job, result, error)

    def close(self) -> None:
        self.bridge.close()

    def _placed(self, job: Job) -> Answer:
        share = self._share(job)
        if not self.room.take(job.key, share):
            self._wanted = share
            self.bridge.put_back(job)
            return WAIT
        self._wanted = SMALLEST
        self._running[job.key] = replace(job, gpus=share)
        return self._running[job.key]

    def _share(self, job: Job) -> float:
        """Of a GPU; the first job says where measurements are kept."""
        if self._needs is None:
            self._needs = needs_of(job)
        return self._needs.share(job)

    def _learn(self, job: Job, result: Result) -> None:
        if self._needs is not None and "gpu" in result and result["failure"] is None:
            self._needs.learn(job, result["gpu"])


def _of_gpu(fault: Failure) -> bool:
    """Whether the memory of a GPU was not enough, not that of the machine."""
    return fault["kind"] == "memory" and "CUDA" in fault["why"]
