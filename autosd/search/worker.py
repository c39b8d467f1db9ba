"""Runs jobs one after the other in one process, epoch by epoch, for every engine."""

import atexit
import gc
import json
import logging
import os
import platform
import random
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import DataUnreadable, EngineLost
from autosd.files import write_atomically
from autosd.recipe import DataSpec, Recipe
from autosd.search.blame import kind_of, reason_of
from autosd.search.jobs import Failure, Job, Result, failure
from autosd.search.needs import CONTEXT_BYTES
from autosd.search.place import PlaceUnusable
from autosd.search.scratch import Scratch
from autosd.search.workplace import CHECKPOINT, Elsewhere, Here, Workplace
from autosd.training import gpu
from autosd.training.checkpoint import CheckpointUnreadable
from autosd.training.report import EpochReport
from autosd.training.trainer import Trainer

logger = logging.getLogger(__name__)


class Supply(Protocol):
    """What lies on the driver's machine, for a worker on another one."""

    def data(self, spec: DataSpec, *, cache: Path | None, with_test: bool) -> Data:
        """As `load_data`."""

    def bring(self, recipe: Recipe, root: Path) -> None:
        """Have the files that a recipe names on this machine."""


class Worker:
    """The one worker of all engines. A failing run is a result; only a lost study raises.

    Data sets stay loaded between jobs; nothing else does.
    """

    def __init__(self, supply: Supply | None = None) -> None:
        """A worker for one job after the other.

        Args:
            supply: gives what lies on the driver's machine; None where this is that machine.
        """
        atexit.register(gc.unfreeze)  # else libraries call what is frozen a leak
        self._data: dict[str, Data] = {}
        self._run: _Run | None = None
        self._supply = supply
        self._scratch: Scratch | None = None

    def begin(self, job: Job) -> None:
        """Build data, student and strategies of `job`; faults show in the first step."""
        if self._run is not None:
            self._run.place.leave()
        self._run = None
        _reset(job)
        self._run = _Run(job, self._place(job))
        self._run.guard(lambda run: run.build(self._load(run.job, run.recipe)))

    def step(self) -> Result:
        """One epoch; after the last one also the final evaluation and what is kept of the run.

        Raises:
            EngineLost: another driver has taken over the study.
        """
        if self._run is None:
            raise RuntimeError("step before begin")
        return self._run.step()

    def _place(self, job: Job) -> Workplace:
        if not job.place:
            return Here(job)
        if self._scratch is None:
            self._scratch = Scratch().__enter__()
            atexit.register(self._scratch.__exit__)
        return Elsewhere(job, self._scratch.path)

    def _load(self, job: Job, recipe: Recipe) -> Data:
        with_test = "test" in job.parts
        if self._supply is not None:
            with _readable("the files that the recipe names"):
                self._supply.bring(recipe, Path(job.root))
        key = json.dumps([recipe.data.model_dump(mode="json"), with_test, job.cache])
        if key not in self._data:
            cache = Path(job.cache) if job.cache else None
            load = load_data if self._supply is None else self._supply.data
            with _readable("the data"):
                self._data[key] = load(recipe.data, cache=cache, with_test=with_test)
        return self._data[key]


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Whatever goes wrong inside is no fault of the recipe: the driver could read it."""
    try:
        yield
    except Exception as error:
        raise DataUnreadable(f"{what} cannot be read here: {reason_of(error)}") from error


class _Run:
    """One job on its way."""

    def __init__(self, job: Job, place: Workplace) -> None:
        self.job, self.place = job, place
        self.folder = place.folder
        self.recipe = Recipe.parse(dict(job.recipe))
        self.device = "cuda" if job.gpus > 0 else "cpu"
        self.failure: Failure | None = None
        self.result: dict[str, Any] | None = None
        self.sent = 0
        self.trainer: Trainer | None = None

    def build(self, data: Data) -> None:
        """The trainer, at its checkpoint; from the start where that cannot be read."""
        self.place.open()
        try:
            self.trainer = self.new_trainer(data)
        except CheckpointUnreadable as error:
            logger.warning("%s is trained from its start: %s", self.job.key, error)
            self.fence()
            self.checkpoint.unlink(missing_ok=True)
            _reset(self.job)
            self.trainer = self.new_trainer(data)
        self.reports = self.trainer.epochs()

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def new_trainer(self, data: Data) -> Trainer:
        job = self.job
        return Trainer(
            self.recipe,
            data,
            train_on=job.train_on,
            evaluate_on=job.evaluate_on,
            device=self.device,
            threads=job.cpus,
            checkpoint=self.checkpoint,
            root=Path(job.root),
        )

    def step(self) -> Result:
        begin = time.perf_counter()
        if self.failure is None:
            self.guard(_Run.advance)
        history = [] if self.trainer is None else self.trainer.history
        fresh, self.sent = history[self.sent :], len(history)
        answer: Result = {
            "epoch": len(history),
            "history": list(fresh),
            "done": self.failure is not None or self.result is not None,
            "result": self.result,
            "failure": self.failure,
            "seconds": time.perf_counter() - begin,
            "worker": {"pid": os.getpid(), "host": platform.node(), "device": self.device},
        }
        if self.result is not None:
            answer["files"] = self.place.finished()
        if self.device == "cuda":
            answer["gpu"] = {"bytes": gpu.peak(), "total_bytes": gpu.total()}
        return answer

    def advance(self) -> None:
        """Train an epoch, unless the checkpoint already holds them all."""
        assert self.trainer is not None
        report: EpochReport | None = next(self.reports, None)
        if report is not None:
            self.fence()
            self.trainer.save()
            self.place.keep()
        if report is None or report.epoch >= report.epochs:
            self.result = self.finish(self.trainer)

    def finish(self, trainer: Trainer) -> dict[str, Any]:
        """Evaluate, keep logits and the student; returns the metrics of the final parts."""
        wanted = dict.fromkeys((*self.job.final, *self.job.keep_logits))
        kept = self.job.keep_logits
        evaluations = {part: trainer.evaluate(part, keep=part in kept) for part in wanted}
        self.fence()
        logits = {part: evaluations[part].logits.astype(np.float16) for part in kept}
        if logits:
            write_atomically(
                self.folder / "logits.npz",
                lambda file: np.savez(file, **logits),  # type: ignore[arg-type]
            )
        if self.job.export:
            trainer.export(self.folder / "model", dict(self.job.details))
        return {part: dict(evaluations[part].metrics) for part in self.job.final}

    def fence(self) -> None:
        """Stop here when another driver owns the study by now, so that its files stay whole.

        Raises:
            EngineLost: the lock file no longer holds the token of the job.
        """
        if self.job.lock and not self.place.owned_by(self.job.token):
            raise EngineLost(f"{self.job.key}: another process has taken over the study")

    def guard(self, act: Any) -> None:
        """Call `act(self)`; what goes wrong with the run becomes its failure."""
        try:
            act(self)
        except (EngineLost, PlaceUnusable):
            raise
        except (Exception, SystemExit) as error:
            self.failure = failure(kind_of(error), reason_of(error), traceback.format_exc())


def _reset(job: Job) -> None:
    """Put the process into the state of a fresh one: seeds, backend flags, threads, memory."""
    seed = int(job.recipe.get("seed", 0))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(job.cpus)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    gc.collect()
    gc.freeze()  # what is left are modules and data: looking through them takes 0.15 s each time
    if job.gpus > 0:
        gpu.begin(job.gpu_share, CONTEXT_BYTES)
