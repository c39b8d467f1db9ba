"""The engine on Ray Tune: Tune puts workers on slots and steps them, and decides nothing.

Tune's searcher, scheduler and stopper are thin adapters of a bridge. Nothing of Tune or Ray is
ever read back: a run is always a new experiment, the record is the bridge's.
"""

import logging
import math
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

# Ray reads these while it is imported; `setdefault` leaves the last word to the user.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every socket on 127.0.0.1
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one to the home folder
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's would wait for the running epochs
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_ROTATION_MAX_BYTES": "10485760",
    "RAY_ROTATION_BACKUP_COUNT": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "$",  # else the raylet's remarks on dead workers are printed
}.items():
    os.environ.setdefault(_name, _value)

import psutil  # noqa: E402
import ray  # noqa: E402
from ray import cloudpickle, tune  # noqa: E402
from ray.exceptions import (  # noqa: E402
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    RayTaskError,
)
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from autosd.errors import EngineLost  # noqa: E402
from autosd.search.interrupts import held, take_back  # noqa: E402
from autosd.search.jobs import DONE, Bridge, Failure, Job, Result, failure  # noqa: E402
from autosd.search.notes import Notes  # noqa: E402
from autosd.search.scratch import Scratch  # noqa: E402

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
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
        desk = _Desk(bridge, worker)
        watchdog = _Watchdog(desk, self._core, self._last_words(desk, lost))
        watchdog.start()
        try:
            self._tuner(desk).fit()
        finally:
            with held():
                watchdog.over.set()
                bridge.close()
        if desk.error is not None:
            raise desk.error

    def _last_words(self, desk: "_Desk", lost: Callable[[str], None]) -> Callable[[str], None]:
        """What is left to do where the main thread will never return from Ray."""

        def say(message: str) -> None:
            desk.bridge.close()
            lost(message)
            self._scratch.__exit__()

        return say

    def _tuner(self, desk: "_Desk") -> Any:
        return tune.Tuner(
            tune.with_resources(_Slot, {"cpu": self.cpus, "gpu": self.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_BridgeSearcher(desk),
                scheduler=_BridgeScheduler(desk),
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
                stop=_BridgeStopper(desk),
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


class _Desk:
    """Where Tune's ids meet jobs. Tune pickles its adapters: this one stays at home."""

    def __init__(self, bridge: Bridge, worker: type | None) -> None:
        self.bridge, self.worker = bridge, worker
        self.jobs: dict[str, Job] = {}
        self.failures: dict[str, Failure] = {}
        self.error: BaseException | None = None

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
        answer = self.bridge.ask()
        if not isinstance(answer, Job):
            return Searcher.FINISHED if answer is DONE else None
        self.jobs[trial_id] = answer
        return {"job": answer, "worker": self.worker}

    def report(self, trial_id: str, result: Result) -> bool:
        return self.bridge.report(self.jobs[trial_id], result)

    def complete(self, trial_id: str, result: Result | None) -> None:
        job = self.jobs.pop(trial_id, None)
        if job is not None:
            self.bridge.complete(job, result, self.failures.pop(trial_id, None))


class _BridgeSearcher(Searcher):  # type: ignore[misc]
    """Asks for jobs and tells their end."""

    def __init__(self, desk: _Desk) -> None:
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


class _BridgeScheduler(FIFOScheduler):  # type: ignore[misc]
    """Reports an epoch and hears whether to go on, before the next one begins."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self.desk = desk

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        own: Result = result["own"][0]
        go_on = self.desk.call(lambda: self.desk.report(trial.trial_id, own), False)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Called before the searcher hears of the end, with the error already on disk."""
        self.desk.failures[trial.trial_id] = _classify(_error_of(trial))


class _BridgeStopper(tune.Stopper):  # type: ignore[misc]
    """Ends the experiment once the bridge has failed."""

    def __init__(self, desk: _Desk) -> None:
        self.desk = desk

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.desk.error is not None


class _Spoilt(Exception):
    """A job failed and its process may be of no further use; Tune then starts another one."""


class _Slot(tune.Trainable):  # type: ignore[misc]
    """An actor: one worker that lives through many jobs."""

    def setup(self, config: dict[str, Any]) -> None:
        if config["worker"] is None:
            from autosd.search.worker import Worker

            self.worker: Any = Worker()
        else:
            self.worker = config["worker"]()
        self.notes = Notes()
        self.worker.begin(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.worker.begin(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """A list around the result keeps Tune from flattening it.

        Raises:
            _Spoilt: an error on a GPU; its later jobs would fail as well.
        """
        result: Result = self.worker.step()
        result["notes"] = self.notes.take()
        failed = result["failure"]
        if failed and failed["kind"] == "error" and result["worker"]["device"] != "cpu":
            raise _Spoilt(failed["why"])
        return {"own": [result], "done": result["done"]}


def _error_of(trial: Any) -> BaseException | None:
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    with Path(path).open("rb") as file:
        error: BaseException = cloudpickle.load(file)
    return error


def _classify(error: BaseException | None) -> Failure:
    """Whether the job is at fault, or the place where it ran."""
    text = "" if error is None else str(error)
    if isinstance(error, RayTaskError):
        cause = error.cause
        kind = "" if isinstance(cause, _Spoilt) else f"{type(cause).__name__}: "
        return failure("error", f"{kind}{cause}", text)
    if isinstance(error, ActorUnavailableError | NodeDiedError):
        return failure("interrupted", "the node was lost", text)
    if isinstance(error, ActorDiedError) and "node has died" in text:
        return failure("interrupted", "the node was lost", text)
    if isinstance(error, ActorDiedError):
        return failure("error", "the worker process died (killed, crashed or out of memory)", text)
    return failure("error", f"{type(error).__name__}: {text}", text)


class _Watchdog(threading.Thread):
    """Looks once a second whether Ray's core still lives; without it a run hangs for ever."""

    def __init__(
        self, desk: _Desk, core: list[psutil.Process], lost: Callable[[str], None]
    ) -> None:
        super().__init__(daemon=True)
        self.desk, self.lost = desk, lost
        self.core = [process for process in core if process.name() in ("gcs_server", "raylet")]
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(1.0):
            if any(_dead(process) for process in self.core):
                self._end()
                return

    def _end(self) -> None:
        """Ask the run to end; where the main thread is stuck inside Ray, end the process."""
        message = "Ray ended unexpectedly; what was finished is kept: run the same command again"
        self.desk.error = self.desk.error or EngineLost(message)
        if self.over.wait(GRACE_SECONDS):
            return
        self.lost(message)
        os._exit(EngineLost.exit_code)


def _dead(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
