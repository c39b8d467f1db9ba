"""A driver of a study whose trials are fast: what the tests kill, interrupt and look at.

`python drive.py ROOT [options]` runs or resumes the study `s` under ROOT. The training is a
formula; everything else (study, bridge, engines, checkpoints, lock) is the real thing.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import optuna

from autosd.errors import AutosdError, EngineLost
from autosd.files import write_json
from autosd.recipe import Recipe, StudyDefinition
from autosd.search import ending, inline, ledger
from autosd.search.attended import Attended
from autosd.search.bridge import Search, StudyBridge
from autosd.search.interrupts import raised
from autosd.search.jobs import Job, Result, failure
from autosd.search.lock import VALID_SECONDS, StudyLock, names
from autosd.search.meter import Meter
from autosd.search.mirror import mirrored
from autosd.search.progress import Quiet
from autosd.search.pruners import make_pruner
from autosd.search.samplers import make_sampler
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close, lock_path

EPOCHS = 8
RATE = {"log_uniform": [0.01, 1.0], "default": 0.1}
RATIO = {"uniform": [0.0, 1.0], "default": 0.15}
SPACE = Space.parse(
    {
        "training": {"knobs": {"optimizer.lr": RATE}},
        "families": {
            "cross_entropy": {"members": ["cross_entropy"]},
            "masd": {"members": ["masd"], "knobs": {"masd.mask_ratio": RATIO}},
            "toast": {"members": ["toast"], "knobs": {"toast.alpha": RATIO}},
        },
    }
)


def definition(trials: int, name: str = "s") -> StudyDefinition:
    """The study that all of these tests run."""
    recipe = {"data": "digits", "epochs": EPOCHS}
    return StudyDefinition.parse({"name": name, "recipe": recipe, "space": "x", "trials": trials})


def value(recipe: dict[str, Any], epoch: int) -> float:
    """A learning curve: what it reaches depends on the recipe only."""
    entry = recipe["strategies"][0]
    name, knobs = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    level = {"cross_entropy": 0.8, "masd": 0.85, "toast": 0.9}[name]
    level -= 0.3 * abs(recipe["optimizer"]["lr"] - 0.2) + 0.2 * abs(sum(knobs.values()) - 0.3)
    return level * (1 - 0.5**epoch)


class FastWorker:
    """Trains nothing: an epoch is a sleep of `$SLEEP` seconds and a JSON checkpoint.

    It notes its process in the file `$PIDS`. With `$GPU` the second epoch of a start fails as a
    GPU does.
    """

    def begin(self, job: Job) -> None:
        """Go on from `last.pt` if there is one."""
        self.job, self.sent, self.path = job, 0, Path(job.folder) / "last.pt"
        self.history = json.loads(self.path.read_text()) if self.path.exists() else []
        self.pids = Path(os.environ.get("PIDS", os.devnull))

    def step(self) -> Result:
        """One epoch."""
        begin = time.perf_counter()
        self.train()
        with self.pids.open("a") as file:
            file.write(f"{os.getpid()}\n")
        fresh, self.sent = self.history[self.sent :], len(self.history)
        done = len(self.history) >= EPOCHS
        spoilt = "GPU" in os.environ and len(self.history) == 2
        return {
            "epoch": len(self.history),
            "history": fresh,
            "done": done or spoilt,
            "result": {} if done else None,
            "failure": failure("worker", "CUDA error: an illegal address") if spoilt else None,
            "seconds": time.perf_counter() - begin,
            "worker": {"pid": os.getpid(), "host": "here", "device": "cuda" if spoilt else "cpu"},
        }

    def train(self) -> None:
        """The epoch, if one is left."""
        if len(self.history) < EPOCHS:
            time.sleep(float(os.environ.get("SLEEP", "0.02")))
            if self.job.lock and not names(Path(self.job.lock), self.job.token):
                raise EngineLost("another process has taken over the study")
            epoch = len(self.history) + 1
            top1 = value(dict(self.job.recipe), epoch)
            self.history.append({"epoch": epoch, "evaluated": {"val": {"top1": top1}}})
            write_json(self.path, self.history)


class FullDisk(StudyBridge):
    """Cannot write any more after five reports."""

    reports = 0

    def report(self, job: Job, result: Result) -> bool:
        """The sixth one fails."""
        self.reports += 1
        if self.reports > 5:
            raise OSError("no space left on device")
        return super().report(job, result)


def run(
    root: Path,
    study_definition: StudyDefinition,
    engine: str,
    slots: int,
    full: bool = False,
    storage: str | None = None,
    valid: float = VALID_SECONDS,
) -> None:
    """Begin the study, or go on with it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = study_definition.trials
    with raised(), StudyLock(lock_path(root, study_definition.name), valid=valid) as lock:
        folder = StudyFolder.prepare(root, study_definition, SPACE, storage=storage)
        study = opened(folder)
        try:
            ledger.sweep(study)
            ledger.enqueue_defaults(study, folder.space)
            if not ending.goes_on(ledger.census(study), trials):
                return
            bridge = (FullDisk if full else StudyBridge)(search(folder, study, lock), Meter(slots))
            drive(bridge, engine, slots)
        finally:
            with contextlib.ExitStack() as stack:
                stack.callback(close, study)
                ledger.sweep(study)


def opened(folder: StudyFolder) -> optuna.Study:
    """The study as a search opens it."""
    study = folder.load(read_only=False)
    counted = ledger.counts(study).counted
    sampler = make_sampler("tpe", 0, families=3, trials=folder.definition.trials, counted=counted)
    return mirrored(study, sampler, make_pruner("family", EPOCHS))


def search(folder: StudyFolder, study: Any, lock: StudyLock) -> Search:
    """The search of a study folder."""
    return Search(
        study=study,
        space=folder.space,
        base=Recipe.parse(folder.definition.recipe.mapping()),
        folder=folder.path,
        planned=folder.definition.trials,
        objective="top1",
        job=Job("", {}, "", token=lock.token, lock=str(lock.path)),
    )


def drive(bridge: StudyBridge, engine: str, slots: int) -> None:
    """Run a bridge on an engine."""
    attended = Attended(bridge, Quiet())
    if engine == "inline":
        inline.run(attended, FastWorker())
        attended.check()
        return
    from autosd.search.raytune.engine import RayEngine

    with RayEngine(slots) as ray:
        ray.run(attended, FastWorker, lost=lambda line: print(line, file=sys.stderr, flush=True))


def main() -> int:
    """Exit codes as those of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--engine", default="inline")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="let the disk run full")
    parser.add_argument("--name", default="s")
    parser.add_argument("--storage", help="URL of a database server")
    parser.add_argument("--valid", type=float, default=VALID_SECONDS, help="seconds of a beat")
    options = parser.parse_args()
    wanted = definition(options.trials, options.name)
    try:
        run(
            options.root,
            wanted,
            options.engine,
            options.slots,
            options.full,
            options.storage,
            options.valid,
        )
    except KeyboardInterrupt as error:
        return 130 if error.args[0] == 2 else 143
    except EngineLost as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except AutosdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
