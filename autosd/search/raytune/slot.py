"""An actor of Tune: one worker that lives through many jobs."""

from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from autosd.search.jobs import Job, Result
from autosd.search.notes import Notes
from autosd.search.raytune.fitness import require_fit


class Spoilt(Exception):
    """A job failed and its process may be of no further use; Tune then starts another one."""


class Slot(tune.Trainable):  # type: ignore[misc]
    """An actor: one worker that lives through many jobs."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the job takes; Tune gives an actor further jobs that take the same."""
        job: Job = config["job"]
        return tune.PlacementGroupFactory([{"CPU": job.cpus, "GPU": job.gpu_share}])

    def setup(self, config: dict[str, Any]) -> None:
        supply = config["supply"]
        if supply is not None:
            require_fit(supply["versions"], config["job"])
        self.worker: Any = (config["worker"] or _worker(supply))()
        self.node = None if supply is None else ray.get_runtime_context().get_node_id()[:12]
        self.notes = Notes()
        self.worker.begin(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.worker.begin(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """A list around the result keeps Tune from flattening it.

        Raises:
            Spoilt: an error on a GPU; its later jobs would fail as well.
        """
        result: Result = self.worker.step()
        result["notes"] = self.notes.take()
        if self.node is not None:
            result["worker"]["node"] = self.node
        failed = result["failure"]
        if failed and failed["kind"] == "error" and result["worker"]["device"] != "cpu":
            raise Spoilt(failed["why"])
        return {"own": [result], "done": result["done"]}


def _worker(supply: dict[str, Any] | None) -> Callable[[], Any]:
    """The one that trains; imported here, where torch is needed."""
    from autosd.search.worker import Worker

    if supply is None:
        return Worker
    from autosd.search.raytune.supply import Supplied

    return lambda: Worker(Supplied(supply["depot"]))
