"""Ray for the length of a run, of this machine or of a cluster.

Nothing of Tune or Ray is ever read back: a run is always a new experiment, the record is the
bridge's.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Self

from ray import tune

from autosd.errors import EngineLost
from autosd.search.capacity import gpus_for
from autosd.search.cluster import Cluster
from autosd.search.interrupts import held, take_back
from autosd.search.jobs import Bridge
from autosd.search.raytune.adapters import (
    BridgeScheduler,
    BridgeSearcher,
    BridgeStopper,
    Core,
    Desk,
)
from autosd.search.raytune.joined import JoinedCore
from autosd.search.raytune.local import LocalCore
from autosd.search.raytune.overdue import Overdue
from autosd.search.raytune.slot import Slot
from autosd.search.raytune.watchdog import Watchdog
from autosd.search.scratch import Scratch

logger = logging.getLogger(__name__)


class RayEngine:
    """Ray for the length of a context; `run` drives bridges on its slots."""

    def __init__(
        self,
        slots: int | None,
        cpus: int = 1,
        gpus: float = 0.0,
        cluster: Cluster | None = None,
        cards: int | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            slots: jobs at the same time; None, on a cluster only, for as many as there is room for.
            cpus: threads of each job.
            gpus: share of a GPU for each job, the least one where each says its own.
            cluster: joined where it is given; else Ray is started on this machine.
            cards: GPUs of this machine, None for as many as the slots take.
        """
        self.cpus, self.gpus = cpus, gpus
        self.slots = slots if cluster is None else None
        self._scratch = Scratch()
        self._started, self._over = threading.Event(), threading.Event()
        self._fault: BaseException | None = None
        cards = gpus_for(slots or 1, gpus) if cards is None else cards
        self._core: Core = (
            LocalCore(slots or 1, cpus, cards, self._scratch)
            if cluster is None
            else JoinedCore(cluster, slots, cpus, gpus)
        )

    def __enter__(self) -> Self:
        """Begin to start Ray in the background; the caller has other things to prepare."""
        self._scratch.__enter__()
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop Ray, or leave the cluster, and remove the folder."""
        with held():
            self._started.wait()
            self._core.stop()
            self._over.set()
            self._scratch.__exit__()

    def _live(self) -> None:
        """Start Ray in a thread that stays: the kernel ends Ray's processes with their thread."""
        try:
            self._core.start()
        except Exception as error:  # raised again by `run`
            self._fault = error
        self._started.set()
        self._over.wait()

    def run(
        self,
        bridge: Bridge,
        worker: type | None = None,
        lost: Callable[[str], None] = logger.error,
        resized: Callable[[int], object] = lambda slots: None,
    ) -> None:
        """Do every job of `bridge`; what is unfinished on the way out is handed back.

        Args:
            bridge: asked, reported to and told in this process only.
            worker: class with `begin(job)` and `step()`; the trainer's where None.
            lost: told the last words when Ray's core dies so that nothing can be raised.
            resized: told the number of slots when it changes.

        Raises:
            EngineLost: Ray could not be started or ended in the middle.
        """
        self._started.wait()
        if self._fault is not None:
            raise EngineLost(f"Ray could not be started: {self._fault}") from self._fault
        take_back()
        desk = Desk(bridge, worker, self._core, resized)
        resized(desk.slots)
        watchdog = Watchdog(desk, self._core.dead, self._last_words(desk, lost))
        watchdog.start()
        try:
            self._tuner(desk).fit()
        finally:
            with held():
                watchdog.over.set()
                bridge.close()
        if desk.error is not None:
            raise desk.error

    def _last_words(self, desk: Desk, lost: Callable[[str], None]) -> Callable[[str], None]:
        """What is left to do where the main thread will never return from Ray."""

        def say(message: str) -> None:
            desk.bridge.close()
            lost(message)
            self._scratch.__exit__()

        return say

    def _tuner(self, desk: Desk) -> Any:
        return tune.Tuner(
            Slot,
            tune_config=tune.TuneConfig(
                search_alg=BridgeSearcher(desk),
                scheduler=BridgeScheduler(desk),
                num_samples=-1,
                max_concurrent_trials=self.slots,
                reuse_actors=True,
                trial_name_creator=_trial_id,
                trial_dirname_creator=_trial_id,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=str(self._scratch.path / "tune"),
                verbose=0,
                stop=BridgeStopper(desk),
                callbacks=[Overdue(desk)],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=0, checkpoint_at_end=False
                ),
            ),
        )


def _trial_id(trial: Any) -> str:
    return str(trial.trial_id)
