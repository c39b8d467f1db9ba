"""An actor of Tune: one worker that lives through many jobs."""

from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from autosd.errors import AutosdError
from autosd.search.jobs import Failure, Job, Result
from autosd.search.limit import START_SECONDS, limited
from autosd.search.notes import Notes
from autosd.search.raytune.fitness import Unfit, require_fit

SPOILING = ("memory", "worker")


class Spoilt(Exception):
    """A job failed and its process may be of no further use; Tune then starts another one."""

    def __init__(self, fault: Failure) -> None:
        super().__init__(fault)
        self.fault = fault


class Slot(tune.Trainable):  # type: ignore[misc]
    """An actor: one worker that lives through many jobs."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the job takes; Tune gives an actor further jobs that take the same."""
        job: Job = config["job"]
        return tune.PlacementGroupFactory([{"CPU": job.cpus, "GPU": job.gpu_share}])

    def setup(self, config: dict[str, Any]) -> None:
        self.supply = supply = config["supply"]
        self.worker: Any = (config["worker"] or _worker(supply))()
        self.node = None if supply is None else ray.get_runtime_context().get_node_id()[:12]
        self.notes = Notes()
        self._begin(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config["job"])
        return True

    def _begin(self, job: Job) -> None:
        """What is wrong with the place shows in the first step: here Ray would lose its kind."""
        self.job = job
        self.refusal: Exception | None = None
        try:
            if self.supply is not None:
                require_fit(self.supply["versions"], job)
            with limited(job, START_SECONDS):
                self.worker.begin(job)
        except (AutosdError, Unfit) as error:
            self.refusal = error

    def step(self) -> dict[str, Any]:
        """A list around the result keeps Tune from flattening it.

        Raises:
            Spoilt: an error on a GPU, after which later jobs would fail as well, or memory ran out,
                of which the process may keep what others need.
            Unfit: this node cannot do the job.
            AutosdError: the place of checkpoints failed, or the study is another driver's.
        """
        if self.refusal is not None:
            raise self.refusal
        with limited(self.job):
            result: Result = self.worker.step()
        result["notes"] = self.notes.take()
        if self.node is not None:
            result["worker"]["node"] = self.node
        fault = result["failure"]
        if fault and (fault["kind"] in SPOILING or _on_gpu(fault, result)):
            raise Spoilt(fault)
        return {"own": [result], "done": result["done"]}


def _worker(supply: dict[str, Any] | None) -> Callable[[], Any]:
    """The one that trains; imported here, where torch is needed."""
    from autosd.search.worker import Worker

    if supply is None:
        return Worker
    from autosd.search.raytune.supply import Supplied

    return lambda: Worker(Supplied(supply["depot"]))


def _on_gpu(fault: Failure, result: Result) -> bool:
    return fault["kind"] == "error" and result["worker"]["device"] != "cpu"
