"""T11 to T16: the engine on Ray, in processes of its own, killed in every way there is."""

import collections
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from autosd.search import census, ledger, scratch
from autosd.search.study import StudyFolder, close

pytestmark = pytest.mark.ray

DRIVE = Path(__file__).with_name("drive.py")
EPOCHS = 8
HANG = 120.0
"""Seconds after which a driver that should have ended hangs."""
LOSS = 30.0
"""Seconds from the death of a part of Ray to the end of the run; 20 are promised."""


@dataclass
class Drive:
    """A study folder, and drivers of it with a temporary folder of their own."""

    root: Path
    scratch: Path
    drivers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *more: str, trials: int = 12, sleep: float = 0.1) -> subprocess.Popen[bytes]:
        """Begin the study, or go on with it."""
        command = [sys.executable, str(DRIVE), str(self.root), "--engine", "ray"]
        command += ["--trials", str(trials), *more]
        extra = {"SLEEP": str(sleep), "TMPDIR": str(self.scratch), "PIDS": str(self.pids)}
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        driver = subprocess.Popen(
            command,
            env=environment | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
        )
        self.drivers.append(driver)
        return driver

    @property
    def pids(self) -> Path:
        """Where workers note their process."""
        return self.root / "pids"

    def workers(self) -> list[int]:
        """Processes of workers so far, in order of their first step."""
        lines = self.pids.read_text().splitlines() if self.pids.exists() else []
        return list(dict.fromkeys(int(line) for line in lines))

    def trials(self) -> list[FrozenTrial]:
        """What the storage says."""
        if not (self.root / "s" / "study.yaml").exists():
            return []
        study = StudyFolder.find("s", self.root).load()
        try:
            return ledger.trials(study)
        finally:
            close(study)

    def processes(self) -> list[psutil.Process]:
        """Every living process with this temporary folder in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("TMPDIR") == str(self.scratch)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    scratch = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    drive = Drive(tmp_path, scratch)
    yield drive
    for process in drive.processes():
        process.kill()
    for driver in drive.drivers:
        driver.communicate(timeout=HANG)
    shutil.rmtree(scratch, ignore_errors=True)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so; the driver must live until then."""
    until = time.monotonic() + HANG
    while not condition():
        assert process.poll() is None, process.communicate(timeout=HANG)
        assert time.monotonic() < until
        time.sleep(0.05)


def reported(drive: Drive) -> bool:
    """Whether a trial runs that has an epoch on record."""
    return any(t.state is TrialState.RUNNING and t.intermediate_values for t in drive.trials())


def check_whole(drive: Drive, trials: int = 12) -> None:
    """The plan is full, nothing runs or waits, curves have no holes."""
    found = drive.trials()
    superseded = [t for t in found if t.user_attrs.get("superseded")]
    counting = [t for t in found if t not in superseded and "duplicate_of" not in t.user_attrs]
    assert all(t.state.is_finished() for t in found)
    assert len(counting) == trials
    assert max(collections.Counter(map(census.lineage, counting)).values()) == 1
    for trial in counting:
        epochs = list(trial.intermediate_values)
        assert epochs == list(range(1, len(epochs) + 1))
        assert trial.state is not TrialState.COMPLETE or len(epochs) == EPOCHS


def check_requeued(drive: Drive) -> None:
    """Nothing runs; what ran has a waiting copy."""
    found = drive.trials()
    superseded = [t for t in found if t.user_attrs.get("superseded")]
    assert not [t for t in found if t.state is TrialState.RUNNING]
    assert superseded
    assert all(t.user_attrs["ended"] == "interrupted" for t in superseded)
    lineages = {census.lineage(t) for t in found if t.state is TrialState.WAITING}
    assert {census.lineage(t) for t in superseded} <= lineages


def test_run_is_silent_reuses_its_workers_and_leaves_nothing_behind(drive: Drive) -> None:
    process = drive.start(sleep=0.3)  # long enough for the second slot to start
    output = process.communicate(timeout=HANG)
    assert (process.returncode, *output) == (0, b"", b"")
    assert len(drive.workers()) == 2
    assert drive.processes() == []
    assert list(drive.scratch.iterdir()) == []
    check_whole(drive)


def test_killed_worker_costs_one_attempt(drive: Drive) -> None:
    process = drive.start()
    wait_for(drive.workers, process)
    os.kill(drive.workers()[0], signal.SIGKILL)
    output = process.communicate(timeout=HANG)
    assert (process.returncode, *output) == (0, b"", b"")
    check_whole(drive)
    (lost,) = [t for t in drive.trials() if t.user_attrs.get("superseded")]
    (copy,) = [t for t in drive.trials() if t.user_attrs.get("retry_of") == lost.number]
    assert (lost.state, lost.user_attrs["ended"]) == (TrialState.FAIL, "worker")
    assert "worker process died" in lost.user_attrs["why"]
    assert (copy.state, copy.user_attrs["attempt"]) == (TrialState.COMPLETE, 2)


def check_driver_kills(drive: Drive, kills: int) -> None:
    before: dict[int, tuple[object, ...]] = {}
    for _ in range(kills):
        known = set(drive.workers())
        process = drive.start(trials=24)
        wait_for(lambda k=known: set(drive.workers()) - k and reported(drive), process)
        check_loopback(process)
        process.kill()
        process.communicate(timeout=HANG)
        after = finished(drive)
        assert {number: after.get(number) for number in before} == before
        before = after
    process = drive.start(trials=24, sleep=0.02)
    assert (process.wait(HANG), process.communicate(timeout=HANG)) == (0, (b"", b""))
    after = finished(drive)
    assert {number: after.get(number) for number in before} == before
    check_whole(drive, trials=24)
    until = time.monotonic() + HANG
    while left := drive.processes():  # agents of killed drivers end within a minute or so
        assert time.monotonic() < until, left
        time.sleep(0.2)
    scratch.sweep(drive.scratch, settled=0.0)  # as the next run does with what they wrote last
    assert list(drive.scratch.iterdir()) == []


def finished(drive: Drive) -> dict[int, tuple[object, ...]]:
    """Finished trials by number, with what must never change."""
    return {
        t.number: (t.state, t.value, str(t.params), tuple(t.intermediate_values.items()))
        for t in drive.trials()
        if t.state.is_finished()
    }


def check_loopback(driver: subprocess.Popen[bytes]) -> None:
    """No process of a run listens to other machines.

    A worker that outlives a killed driver may note itself before the next driver has started Ray.
    """
    wait_for(lambda: bool(listening(driver)), driver)
    assert listening(driver) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def listening(driver: subprocess.Popen[bytes]) -> set[str]:
    """Addresses that the processes of a run listen on."""
    family = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    addresses: set[str] = set()
    for process in family:
        try:
            sockets = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        addresses |= {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    return addresses


@pytest.mark.slow
def test_ten_kills_lose_and_double_nothing(drive: Drive) -> None:
    check_driver_kills(drive, kills=10)


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_run_ends_when_a_part_of_ray_dies(drive: Drive, name: str) -> None:
    process = drive.start()
    wait_for(lambda: reported(drive), process)
    check_loopback(process)
    part = next(p for p in psutil.Process(process.pid).children() if p.name() == name)
    part.kill()
    _, errors = process.communicate(timeout=LOSS)
    assert process.returncode == 75
    assert b"run the same command again" in errors
    check_requeued(drive)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_the_run_and_hands_back_what_ran(
    drive: Drive, number: signal.Signals, code: int
) -> None:
    process = drive.start(sleep=0.5)
    wait_for(lambda: len(drive.workers()) == 2 and reported(drive), process)
    process.send_signal(number)
    output = process.communicate(timeout=HANG)
    assert (process.returncode, *output) == (code, b"", b"")
    check_requeued(drive)
    assert drive.processes() == []
    assert list(drive.scratch.iterdir()) == []


def test_storage_that_fails_ends_the_run_with_its_own_error(drive: Drive) -> None:
    """Tune would only log it, and trials would be lost without a word."""
    process = drive.start("--full")
    output, errors = process.communicate(timeout=HANG)
    assert (process.returncode, output) == (1, b"")
    assert errors.strip().endswith(b"OSError: no space left on device")
    check_requeued(drive)
    assert drive.processes() == []


@pytest.mark.slow
def test_worker_whose_gpu_failed_is_replaced(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of three trials fails so at its second epoch, and goes on in another process."""
    monkeypatch.setenv("GPU", "1")
    process = drive.start(trials=3, sleep=0.02)
    output = process.communicate(timeout=HANG)
    assert (process.returncode, *output) == (0, b"", b"")
    check_whole(drive, trials=3)
    assert len(drive.workers()) >= 4
    lost = [t for t in drive.trials() if t.user_attrs.get("superseded")]
    assert [t.user_attrs["why"] for t in lost] == ["CUDA error: an illegal address"] * 3
