"""Tune's searcher, scheduler and stopper as thin adapters of a bridge."""

from collections.abc import Callable
from typing import Any, Protocol

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from autosd.errors import AutosdError
from autosd.search.interrupts import held
from autosd.search.jobs import DONE, Bridge, Failure, Job, Result, failure
from autosd.search.raytune.failures import error_of, fault_of, unfit_node
from autosd.search.raytune.kills import Kills
from autosd.search.raytune.overdue import Clock


class Core(Protocol):
    """Ray's own processes, here or on other machines."""

    def start(self) -> None:
        """Start or join it."""

    def stop(self) -> None:
        """Stop or leave it."""

    def dead(self) -> bool:
        """Whether it has ended unasked; looked at once a second."""

    def slots(self) -> int:
        """How many jobs there is room for now."""

    def supply(self) -> Any:
        """What workers on other machines need; None where they are on this one."""


class Desk:
    """Where Tune's ids meet jobs. Tune pickles its adapters: this one stays at home."""

    def __init__(
        self,
        bridge: Bridge,
        worker: type | None,
        core: Core,
        resized: Callable[[int], object],
    ) -> None:
        self.bridge, self.worker, self.core, self.resized = bridge, worker, core, resized
        self.supply, self.slots = core.supply(), core.slots()
        self.jobs: dict[str, Job] = {}
        self.failures: dict[str, Failure] = {}
        self.error: BaseException | None = None
        self.clock, self.kills = Clock(), Kills()

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, ())

    def call(self, act: Callable[[], Any], otherwise: Any) -> Any:
        """Call the bridge; Tune would swallow what it raises, so it is kept for the end."""
        if self.error is not None:
            return otherwise
        try:
            with held():
                return act()
        except Exception as error:
            self.error = error
            return otherwise

    def ask(self, trial_id: str) -> Any:
        """The next job as Tune's configuration, None to wait, or the searcher's `FINISHED`."""
        if not self._free():
            return None
        answer = self.bridge.ask()
        if not isinstance(answer, Job):
            return Searcher.FINISHED if answer is DONE else None
        self.jobs[trial_id] = answer
        self.clock.begin(trial_id)
        return {"job": answer, "worker": self.worker, "supply": self.supply}

    def _free(self) -> bool:
        """Whether there is a slot for one more; nodes of a cluster come and go."""
        self._count()
        return len(self.jobs) < self.slots

    def look(self) -> None:
        """See once a second what nothing else tells: how many slots there are, and kills."""
        self.kills.look()
        self.call(self._count, None)

    def _count(self) -> None:
        slots = self.core.slots()
        if slots != self.slots:
            self.slots = slots
            self.resized(slots)

    def refuse(self, why: str) -> None:
        """End the run because of a node that no job can do with; nothing where there is no why."""
        if why and self.error is None:
            self.error = AutosdError(why)

    def report(self, trial_id: str, result: Result) -> bool:
        """Whether the trial goes on."""
        self.clock.hear(trial_id)
        return self.bridge.report(self.jobs[trial_id], result)

    def complete(self, trial_id: str, result: Result | None) -> None:
        """Tell the end of a trial once."""
        job = self.jobs.pop(trial_id, None)
        self.clock.end(trial_id)
        if job is not None:
            self.bridge.complete(job, result, self.failures.pop(trial_id, None))

    def fail(self, trial_id: str, fault: Failure) -> None:
        """Take down why a trial ended, before its end is told."""
        job = self.jobs[trial_id]
        if fault["kind"] == "worker" and self.kills.recent():
            why = "the worker process was killed by the kernel: out of memory"
            fault = failure("memory", why, fault["traceback"])
        self.failures[trial_id] = self.clock.judge(trial_id, job, fault)


class BridgeSearcher(Searcher):  # type: ignore[misc]
    """Asks for jobs and tells their end."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def suggest(self, trial_id: str) -> Any:
        return self.desk.call(lambda: self.desk.ask(trial_id), Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        own: Result | None = result["own"][0] if result and "own" in result and not error else None
        self.desk.call(lambda: self.desk.complete(trial_id, own), None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is the bridge's."""

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a run is never restored from Tune's files")


class BridgeScheduler(FIFOScheduler):  # type: ignore[misc]
    """Reports an epoch and hears whether to go on, before the next one begins."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        own: Result = result["own"][0]
        go_on = self.desk.call(lambda: self.desk.report(trial.trial_id, own), False)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Called before the searcher hears of the end, with the error already on disk."""
        error = error_of(trial)
        self.desk.call(lambda: self.desk.fail(trial.trial_id, fault_of(trial, error)), None)
        self.desk.refuse(unfit_node(error))


class BridgeStopper(tune.Stopper):  # type: ignore[misc]
    """Ends the experiment once the bridge has failed."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.desk.error is not None
