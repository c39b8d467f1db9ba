"""Ray on this machine for the length of a run.

Nothing of Tune or Ray is ever read back: a run is always a new experiment, the record is the
bridge's.
"""

import logging
import math
import threading
from collections.abc import Callable
from typing import Any, Self

import psutil
import ray
from ray import tune

from autosd.errors import EngineLost
from autosd.search.interrupts import held, take_back
from autosd.search.jobs import Bridge
from autosd.search.raytune.adapters import BridgeScheduler, BridgeSearcher, BridgeStopper, Desk
from autosd.search.raytune.slot import Slot
from autosd.search.raytune.watchdog import Watchdog
from autosd.search.scratch import Scratch

logger = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 80 * 2**20


class RayEngine:
    """Ray on this machine for the length of a context; `run` drives bridges on its slots."""

    def __init__(self, slots: int, cpus: int = 1, gpus: float = 0.0) -> None:
        """Nothing is started yet.

        Args:
            slots: jobs at the same time.
            cpus: threads of each job.
            gpus: share of a GPU for each job.
        """
        self.slots, self.cpus, self.gpus = slots, cpus, gpus
        self._scratch = Scratch()
        self._started, self._over = threading.Event(), threading.Event()
        self._fault: BaseException | None = None
        self._core: list[psutil.Process] = []

    def __enter__(self) -> Self:
        """Begin to start Ray in the background; the caller has other things to prepare."""
        self._scratch.__enter__()
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop Ray, its processes and its folder."""
        with held():
            self._started.wait()
            family = [*self._core, *(p for core in self._core for p in _descendants(core))]
            ray.shutdown()
            _, alive = psutil.wait_procs(family, timeout=5)
            for process in alive:
                process.kill()
            psutil.wait_procs(alive, timeout=5)
            self._over.set()
            self._scratch.__exit__()

    def _live(self) -> None:
        """Start Ray in a thread that stays: the kernel ends Ray's processes with their thread."""
        self._start()
        self._started.set()
        self._over.wait()

    def _start(self) -> None:
        before = set(psutil.Process().children())
        try:
            ray.init(
                address="local",
                num_cpus=self.slots * self.cpus,
                num_gpus=math.ceil(self.slots * self.gpus),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(self._scratch.path),
            )
        except Exception as error:  # raised again by `run`
            self._fault = error
        self._core = [p for p in psutil.Process().children() if p not in before]

    def run(
        self,
        bridge: Bridge,
        worker: type | None = None,
        lost: Callable[[str], None] = logger.error,
    ) -> None:
        """Do every job of `bridge`; what is unfinished on the way out is handed back.

        Args:
            bridge: asked, reported to and told in this process only.
            worker: class with `begin(job)` and `step()`; the trainer's where None.
            lost: told the last words when Ray's core dies so that nothing can be raised.

        Raises:
            EngineLost: Ray could not be started or ended in the middle.
        """
        self._started.wait()
        if self._fault is not None:
            raise EngineLost(f"Ray could not be started: {self._fault}") from self._fault
        take_back()
        desk = Desk(bridge, worker)
        watchdog = Watchdog(desk, self._core, self._last_words(desk, lost))
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
            tune.with_resources(Slot, {"cpu": self.cpus, "gpu": self.gpus}),
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
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=0, checkpoint_at_end=False
                ),
            ),
        )


def _trial_id(trial: Any) -> str:
    return str(trial.trial_id)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []
