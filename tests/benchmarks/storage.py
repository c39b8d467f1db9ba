"""What the record costs: ask, report and tell, in milliseconds, as a study grows.

    python tests/benchmarks/storage.py                              SQLite, 1,000 trials, 2 slots
    python tests/benchmarks/storage.py --server postgresql mariadb  own servers on loopback too
    python tests/benchmarks/storage.py --storage URL                a server that runs already
    python tests/benchmarks/storage.py --slots 200 --trials 10000 --epochs 3 --sampler random

The real bridge over the real storage, in this process; the trainings are a formula and take no
time. A window is the trials that ended just before the count in its row: medians of an ask (the
sampler included), of a report and of a tell in it, and the 95th percentile of a report. `share` is
what one trial costs in all, of a trial of 30 seconds. The last lines give processor time (which
other load on the machine disturbs least), memory and the time of `status`.
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

import optuna
import psutil
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


@dataclass
class Times:
    """Seconds of the calls since the last row."""

    ask: list[float] = field(default_factory=list)
    report: list[float] = field(default_factory=list)
    tell: list[float] = field(default_factory=list)

    def timed(self, kind: str, act: Callable[[], object]) -> object:
        """Call and remember how long it took."""
        begin = time.perf_counter()
        answer = act()
        getattr(self, kind).append(time.perf_counter() - begin)
        return answer

    def row(self, count: int, epochs: int) -> str:
        """Medians over the newest calls; a trial is one ask, `epochs - 1` reports and one tell."""
        ask, tell = (statistics.median(calls[-WINDOW:]) for calls in (self.ask, self.tell))
        reports = self.report[-WINDOW * epochs :]
        report, most = statistics.median(reports), statistics.quantiles(reports, n=20)[-1]
        whole = ask + tell + (epochs - 1) * report
        shown = "".join(f"{1000 * value:10.2f}" for value in (ask, report, most, tell))
        return f"{count:8,}{shown}{100 * whole / TRIAL_SECONDS:9.2f} %"


class Runs:
    """Jobs on simulated slots, stepped in turn."""

    def __init__(self, bridge: StudyBridge, slots: int, epochs: int, times: Times) -> None:
        self.bridge, self.slots, self.epochs, self.times = bridge, slots, epochs, times
        self.live: deque[tuple[Job, int]] = deque()
        self.ended = 0

    def fill(self) -> bool:
        """Ask for every free slot; whether anything runs."""
        while len(self.live) < self.slots:
            answer = self.times.timed("ask", self.bridge.ask)
            if not isinstance(answer, Job):
                break
            self.live.append((answer, 0))
        return bool(self.live)

    def step(self) -> None:
        """One epoch of the job that waited longest."""
        job, epoch = self.live.popleft()
        result = self.result(job, epoch + 1)
        if result["done"]:
            self.times.timed("tell", lambda: self.bridge.complete(job, result, None))
            self.ended += 1
        elif self.times.timed("report", lambda: self.bridge.report(job, result)):
            self.live.append((job, epoch + 1))
        else:
            self.times.timed("tell", lambda: self.bridge.complete(job, result, None))
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
    process = psutil.Process()
    with StudyLock(lock_path(root, name)) as lock:
        folder = StudyFolder.prepare(root, wanted, drive.SPACE, storage=storage)
        raw = folder.load(read_only=False)
        sampler = make_sampler(options.sampler, 0, families=3, trials=options.trials, counted=0)
        study = mirrored(raw, sampler, make_pruner(options.pruner, options.epochs))
        try:
            ledger.enqueue_defaults(study, folder.space)
            times = Times()
            bridge = StudyBridge(drive.search(folder, study, lock), Meter(options.slots))
            runs = Runs(bridge, options.slots, options.epochs, times)
            print(
                f"  trials       ask    report   95 %   tell (ms)   share of {TRIAL_SECONDS:.0f} s"
            )
            rows = [row for row in ROWS if row < options.trials] + [options.trials]
            begin, cpu = time.perf_counter(), process.cpu_times()
            memory = process.memory_info().rss
            while runs.fill():
                runs.step()
                if rows and runs.ended >= rows[0]:
                    print(times.row(rows.pop(0), options.epochs), flush=True)
            used = process.cpu_times()
            print(
                f"{runs.ended:,} trials in {time.perf_counter() - begin:.0f} s, "
                f"{used.user + used.system - cpu.user - cpu.system:.0f} s of processor time; "
                f"memory {memory / 2**20:.0f} -> {process.memory_info().rss / 2**20:.0f} MiB"
            )
        finally:
            close(raw)
    command = [sys.executable, "-c", "from autosd.cli.main import main; main()"]
    begin = time.perf_counter()
    secret = (make_url(storage).password if storage else None) or ""
    subprocess.run(
        [*command, "status", str(folder.path), "--json"],
        env={**os.environ, address.PASSWORD_VARIABLE: secret},
        check=True,
        capture_output=True,
    )
    print(f"status: {time.perf_counter() - begin:.2f} s")


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        kinds = {"sqlite": None} if not options.storage else {"storage": options.storage}
        kinds |= {name: stack.enter_context(getattr(servers, name)()) for name in options.server}
        for name, url in kinds.items():
            print(f"{name}: {options.sampler}, {options.slots} slots, {options.epochs} epochs")
            measure(Path(root), options, url, name)


if __name__ == "__main__":
    main()
