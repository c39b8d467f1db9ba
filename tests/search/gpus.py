"""Training on GPUs that are not there: what a recipe takes of one is a formula.

`python gpus.py ROOT` runs a list of recipes and then a study on two logical GPUs of Ray. A worker
is refused what a real one would be refused: more than its share. What it does is written to
`ROOT/events` as lines of JSON.
"""

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import drive

from autosd.recipe import Recipe
from autosd.search.bridge import StudyBridge
from autosd.search.interrupts import raised
from autosd.search.jobs import Job, Result, failure
from autosd.search.lists import ListBridge, Plan, Run
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter
from autosd.search.needs import CONTEXT_BYTES
from autosd.search.packed import Packed
from autosd.search.study import StudyFolder, close, lock_path

GIB = 2**30
TOTAL = 24 * GIB
TIMES = {"cross_entropy": 1.0, "masd": 1.5, "toast": 2.5}
"""What a strategy takes, with that of plain training as 1."""


def takes(job: Job) -> int:
    """Bytes that torch would reserve for a job."""
    (name,) = job.strategies
    return int(job.recipe["batch_size"] / 128 * TIMES[name] * GIB)


def refused(job: Job) -> bool:
    """Whether that is more than the job may have."""
    return job.gpu_share < 1 and takes(job) + CONTEXT_BYTES > job.gpu_share * TOTAL


class GpuWorker(drive.FastWorker):
    """As its parent, on a GPU that Ray has chosen."""

    def begin(self, job: Job) -> None:
        """Note the job, its share and its GPU."""
        super().begin(job)
        self.note("begin")

    def step(self) -> Result:
        """An epoch, or a failure at its first step."""
        if refused(self.job):
            self.note("end")
            return out_of_memory(len(self.history))
        result = super().step()
        result["gpu"] = {"bytes": takes(self.job), "total_bytes": TOTAL}
        self.note("end" if result["done"] else "step")
        return result

    def note(self, what: str) -> None:
        """A line in the file of events."""
        event = {
            "what": what,
            "key": self.job.key,
            "pid": os.getpid(),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "share": self.job.gpu_share,
            "bytes": takes(self.job),
            "time": time.time(),
        }
        with Path(os.environ["GPUS"]).open("a") as file:
            file.write(json.dumps(event) + "\n")


def out_of_memory(epoch: int) -> Result:
    """What a worker sends that was refused."""
    return {
        "epoch": epoch,
        "history": [],
        "done": True,
        "result": None,
        "failure": failure("memory", "torch.OutOfMemoryError: CUDA out of memory"),
        "seconds": 0.0,
        "worker": {"pid": os.getpid(), "host": "here", "device": "cuda"},
    }


def recipe(strategy: str, batch_size: int, seed: int = 0) -> Recipe:
    """A recipe; name and size of the batch decide what it takes."""
    values = {"data": "digits", "epochs": drive.EPOCHS, "optimizer": {"lr": 0.1}}
    return Recipe.parse(
        {**values, "strategies": [strategy], "batch_size": batch_size, "seed": seed}
    )


def runs(count: int, seed: int = 0) -> list[Run]:
    """Recipes of which some need a sixteenth of a GPU and some all of it."""
    draw = random.Random(seed)
    sizes = [draw.choice([64, 128, 256, 512, 1024]) for _ in range(count)]
    names = [draw.choice(list(TIMES)) for _ in range(count)]
    return [
        Run(f"{name}{size}", recipe(name, size, number))
        for number, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]


def list_of(folder: Path, some: list[Run], token: str = "") -> ListBridge:
    """A list of runs under a study's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    job = Job("", {}, "", gpus=1.0, token=token, lock=str(folder.parent / ".lock"))
    return ListBridge(Plan(folder, "digits", job), some, Meter(1))


def study(root: Path, engine: Any, trials: int, slots: int) -> None:
    """The study of `drive.py`, every trial with its share."""
    definition = drive.definition(trials)
    with StudyLock(lock_path(root, definition.name)) as lock:
        folder = StudyFolder.prepare(root, definition, drive.SPACE)
        opened = drive.opened(folder)
        try:
            drive.ledger.enqueue_defaults(opened, folder.space)
            search = drive.search(folder, opened, lock)
            bridge = Packed(StudyBridge(search, Meter(slots)), lambda: "01")
            engine.run(bridge, GpuWorker)
        finally:
            drive.ledger.sweep(opened)
            close(opened)


def main() -> None:
    """A list and a study in one session of Ray."""
    from autosd.search.raytune.engine import RayEngine

    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args()
    os.environ["GPUS"] = str(options.root / "events")
    with raised(), RayEngine(options.slots, gpus=1 / 16, cards=2) as engine:
        with StudyLock(options.root / "list" / ".lock") as lock:
            some = runs(options.runs)
            bridge = list_of(options.root / "list" / "finalists", some, lock.token)
            engine.run(Packed(bridge, lambda: "01"), GpuWorker)
        if bridge.failures:
            raise SystemExit(str(bridge.failures))
        study(options.root, engine, options.trials, options.slots)


if __name__ == "__main__":
    main()
