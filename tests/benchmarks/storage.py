"""What the record costs: ask, report and tell, in milliseconds, as a study grows.

    python tests/benchmarks/storage.py                              SQLite, 1,000 trials, 2 slots
    python tests/benchmarks/storage.py --server postgresql mariadb  own servers on loopback too
    python tests/benchmarks/storage.py --storage URL                a server that runs already
    python tests/benchmarks/storage.py --slots 200 --trials 10000 --epochs 3 --sampler random

The real bridge over the real storage, in this process; the trainings are a formula and take no
time. A row gives the medians over the calls just before its count of ended trials: of an ask that
gave a trial, without and within the sampler, of a report and its 95th percentile, of a tell, in
milliseconds. `share` is what one trial costs in all, of a trial of 30 seconds; `MiB` the memory of
this process. The last lines give processor time and the time of `status`. On a machine that does
other work `--clock processor` counts processor time instead of wall time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.samplers import BaseSampler
from sqlalchemy.engine import make_url

from autosd.search import address, ledger
from autosd.search.bridge import StudyBridge
from autosd.search.jobs import Job, Result
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter
from autosd.search.mirror import mirrored
from autosd.search.pruners import make_pruner
from autosd.search.samplers import make_sampler
from autosd.search.study import StudyFolder, close, lock_path

sys.path.insert(0, str(Path(__file__).parents[1] / "search"))
import drive
import servers

WINDOW = 100
TRIAL_SECONDS = 30.0
ROWS = (10, 100, 1_000, 10_000)
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass
class Times:
    """Seconds of the calls so far, by the clock that was asked for."""

    clock: Callable[[], float]
    ask: list[float] = field(default_factory=list)
    sampler: list[float] = field(default_factory=list)
    report: list[float] = field(default_factory=list)
    tell: list[float] = field(default_factory=list)
    sampling: float = 0.0

    def timed(self, act: Callable[[], Any]) -> tuple[Any, float]:
        """What a call gave and how long it took."""
        begin = self.clock()
        answer = act()
        return answer, self.clock() - begin

    def row(self, count: int, epochs: int) -> str:
        """Medians over the newest calls; a trial is one ask, `epochs - 1` reports and one tell."""
        ask, sampler, tell = (
            statistics.median(calls[-WINDOW:]) for calls in (self.ask, self.sampler, self.tell)
        )
        reports = self.report[-WINDOW * epochs :]
        report, most = statistics.median(reports), statistics.quantiles(reports, n=20)[-1]
        whole = ask + sampler + tell + (epochs - 1) * report
        values = (ask, sampler, report, most, tell)
        shown = "".join(f"{1000 * value:9.2f}" for value in values)
        memory = psutil.Process().memory_info().rss / 2**20
        return f"{count:8,}{shown}{100 * whole / TRIAL_SECONDS:9.2f} %{memory:7.0f}"


HEAD = "  trials      ask  sampler   report     95 %     tell    share    MiB"


class TimedSampler(BaseSampler):
    """Another sampler, and how long it took."""

    def __init__(self, inner: BaseSampler, times: Times) -> None:
        self.inner, self.times = inner, times

    def _timed(self, act: Callable[[], Any]) -> Any:
        answer, seconds = self.times.timed(act)
        self.times.sampling += seconds
        return answer

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return self._timed(lambda: self.inner.infer_relative_search_space(study, trial))

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        return self._timed(lambda: self.inner.sample_relative(study, trial, search_space))

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        act = self.inner.sample_independent
        return self._timed(lambda: act(study, trial, name, distribution))


class Runs:
    """Jobs on simulated slots, stepped in turn."""

    def __init__(self, bridge: StudyBridge, slots: int, epochs: int, times: Times) -> None:
        self.bridge, self.slots, self.epochs, self.times = bridge, slots, epochs, times
        self.live: deque[tuple[Job, int]] = deque()
        self.ended = 0

    def fill(self) -> bool:
        """Ask for every free slot; whether anything runs."""
        while len(self.live) < self.slots:
            self.times.sampling = 0.0
            answer, seconds = self.times.timed(self.bridge.ask)
            if not isinstance(answer, Job):
                break
            self.times.ask.append(seconds - self.times.sampling)
            self.times.sampler.append(self.times.sampling)
            self.live.append((answer, 0))
        return bool(self.live)

    def step(self) -> None:
        """One epoch of the job that waited longest."""
        job, epoch = self.live.popleft()
        result = self.result(job, epoch + 1)
        if not result["done"]:
            go_on, seconds = self.times.timed(lambda: self.bridge.report(job, result))
            self.times.report.append(seconds)
            if go_on:
                self.live.append((job, epoch + 1))
                return
        _, seconds = self.times.timed(lambda: self.bridge.complete(job, result, None))
        self.times.tell.append(seconds)
        self.ended += 1

    def result(self, job: Job, epoch: int) -> Result:
        """What a worker would say."""
        top1 = drive.value(dict(job.recipe), epoch)
        done = epoch == self.epochs
        return {
            "epoch": epoch,
            "history": [{"epoch": epoch, "evaluated": {"val": {"top1": top1}}}],
            "done": done,
            "result": {} if done else None,
            "failure": None,
            "seconds": 0.0,
            "worker": {"pid": 1, "host": "here", "device": "cpu"},
        }


def measure(root: Path, options: argparse.Namespace, storage: str | None, name: str) -> None:
    """One study, its rows printed while it grows."""
    wanted = drive.definition(options.trials, name)
    recipe = wanted.recipe.model_copy(update={"epochs": options.epochs})
    wanted = wanted.model_copy(update={"recipe": recipe})
    with StudyLock(lock_path(root, name)) as lock:
        folder = StudyFolder.prepare(root, wanted, drive.SPACE, storage=storage)
        raw = folder.load(read_only=False)
        times = Times(CLOCKS[options.clock])
        inner = make_sampler(options.sampler, 0, families=3, trials=options.trials, counted=0)
        pruner = make_pruner(options.pruner, options.epochs)
        study = mirrored(raw, TimedSampler(inner, times), pruner)
        try:
            ledger.enqueue_defaults(study, folder.space)
            bridge = StudyBridge(drive.search(folder, study, lock), Meter(options.slots))
            runs = Runs(bridge, options.slots, options.epochs, times)
            print(HEAD)
            rows = [row for row in ROWS if row < options.trials] + [options.trials]
            begin, cpu = time.perf_counter(), time.process_time()
            while runs.fill():
                runs.step()
                if rows and runs.ended >= rows[0]:
                    print(times.row(rows.pop(0), options.epochs), flush=True)
            print(
                f"{runs.ended:,} trials in {time.perf_counter() - begin:.0f} s, "
                f"{time.process_time() - cpu:.0f} s of processor time"
            )
        finally:
            close(raw)
    show_status(folder.path, storage)


def show_status(folder: Path, storage: str | None) -> None:
    """How long `autosd status` takes, and its processor time."""
    command = [sys.executable, "-c", "from autosd.cli.main import main; main()"]
    begin, before = time.perf_counter(), os.times()
    secret = (make_url(storage).password if storage else None) or ""
    subprocess.run(
        [*command, "status", str(folder), "--json"],
        env={**os.environ, address.PASSWORD_VARIABLE: secret},
        check=True,
        capture_output=True,
    )
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    print(f"status: {time.perf_counter() - begin:.2f} s, {used:.2f} s of processor time")


def main() -> None:
    """One table for each storage."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", help="URL of a server that runs")
    parser.add_argument("--server", nargs="*", default=[], choices=["postgresql", "mariadb"])
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--pruner", default="family")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        kinds = {"sqlite": None} if not options.storage else {"storage": options.storage}
        kinds |= {name: stack.enter_context(getattr(servers, name)()) for name in options.server}
        for name, url in kinds.items():
            print(f"{name}: {options.sampler}, {options.slots} slots, {options.epochs} epochs")
            measure(Path(root), options, url, name)


if __name__ == "__main__":
    main()
