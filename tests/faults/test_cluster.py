"""A study of the real command line on a cluster of several nodes, in PostgreSQL.

The driver has a mount of its own over the folder of studies, so that no node can see the study: as
on machines that share nothing but the database, Ray and the folder of checkpoints. Every node has
its own temporary folder and cache.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from autosd.search import census, ledger
from autosd.search.engines import NO_ROOM
from autosd.search.study import StudyFolder, close

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "search"))
import nodes
import servers
from invariants import Witness, counting

pytestmark = [pytest.mark.slow, pytest.mark.ray]

HANG = 900.0
"""Seconds after which something hangs; a quiet machine needs a tenth."""
EPOCHS = 20
"""So that a trial takes longer than a worker's start: Tune gives up workers that come too late."""
SMALL = ["--set", "finalists.count=1", "--set", "finalists.seeds=1"]


@dataclass
class Apart:
    """A driver that alone sees its studies.

    Attributes:
        root: test's folder; `runs` is what nodes see, `hidden` what the driver sees there.
    """

    root: Path
    found: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def study(self) -> Path:
        return self.root / "hidden/digits"

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """`autosd WORDS`, its folder of studies mounted where nobody else looks."""
        for name in ("runs", "hidden"):
            (self.root / name).mkdir(exist_ok=True)
        script = 'mount --bind hidden runs && exec "$@"'
        run = [sys.executable, "-c", "from autosd.cli.main import main; main()"]
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *run, *map(str, words)]
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=environment | nodes.SETTINGS,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.found.append(process)
        return process

    def trials(self) -> list[FrozenTrial]:
        if not (self.study / "study.yaml").exists():
            return []
        study = StudyFolder.open(self.study).load()
        try:
            return ledger.trials(study)
        finally:
            close(study)


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("a mount of its own is not allowed here: run as root")
    apart = Apart(tmp_path)
    yield apart
    for process in apart.found:
        process.kill()
        process.communicate()


@pytest.fixture
def url() -> Iterator[str]:
    with servers.postgresql() as url:
        yield url


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + HANG
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.2)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=HANG)
    return process.returncode, errors.decode()


def running(apart: Apart, epochs: int = 0) -> list[FrozenTrial]:
    """Trials on a slot with so many epochs on record."""
    return [
        trial
        for trial in apart.trials()
        if trial.state is TrialState.RUNNING and len(trial.intermediate_values) >= epochs
    ]


def trained(study: Path, lineage: int) -> list[int]:
    """Epochs of a trial in the order in which workers trained or read them, over all attempts."""
    log = (study / "study.log").read_text(encoding="utf-8")
    return [int(epoch) for epoch in re.findall(rf"trials/{lineage:04d}: epoch (\d+),", log)]


def check_whole(apart: Apart, planned: int) -> list[FrozenTrial]:
    """The record is right, and nothing is left anywhere else."""
    witness = Witness(apart.study, EPOCHS)
    found = witness.end(planned)
    assert not witness.faults, vars(witness.faults)
    assert list((apart.root / "runs").iterdir()) == []
    assert [path for path in (apart.root / "shared").rglob("*") if path.is_file()] == []
    assert not (apart.study / "checkpoints.json").exists()
    return found


@pytest.mark.db
def test_trials_of_a_node_that_is_killed_go_on_elsewhere(apart: Apart, url: str) -> None:
    """Three epochs on every node, then one of the three is gone."""
    with nodes.cluster(apart.root / "nodes", 3) as cluster:
        command = ["--debug", "search", "--trials", 9, "--epochs", EPOCHS, *SMALL]
        command += ["--storage", url, "--ray-address", cluster.address]
        process = apart.start(*command, "--checkpoints", apart.root / "shared")
        wait_for(lambda: len(running(apart, epochs=3)) == 3, process)
        cluster.tell("kill 1")
        code, errors = ended(process)
        assert code == 0, errors
    found = check_whole(apart, planned=9)
    lost = [trial for trial in found if trial.user_attrs.get("superseded")]
    assert lost
    assert {trial.user_attrs["ended"] for trial in lost} == {"node"}
    assert {trial.user_attrs["why"] for trial in lost} == {"the node was lost"}
    (killed,) = {trial.user_attrs["node"] for trial in lost}
    done = [trial for trial in counting(found) if trial.user_attrs.get("epochs_run")]
    others = {trial.user_attrs["node"] for trial in done} - {killed}
    assert len(others) == 2
    for trial in lost:
        (successor,) = [t for t in done if census.lineage(t) == census.lineage(trial)]
        assert successor.user_attrs["node"] in others
        epochs = trained(apart.study, census.lineage(trial))
        assert 3 <= trial.user_attrs["epochs_run"] < EPOCHS
        assert len(epochs) - len(set(epochs)) <= 1, "more than one epoch was trained twice"


@pytest.mark.db
def test_a_node_that_joins_a_running_study_gets_trials(apart: Apart, url: str) -> None:
    with nodes.cluster(apart.root / "nodes", 1) as cluster:
        command = ["search", "--trials", 8, "--epochs", EPOCHS, *SMALL, "--storage", url]
        command += ["--ray-address", cluster.address, "--checkpoints", apart.root / "shared"]
        process = apart.start(*command)
        wait_for(lambda: running(apart, epochs=1), process)
        assert len(running(apart)) == 1
        cluster.tell("add")
        wait_for(lambda: len(running(apart)) == 2, process)
        code, errors = ended(process)
        assert code == 0, errors
    found = check_whole(apart, planned=8)
    assert len({trial.user_attrs["node"] for trial in counting(found)}) == 2


def test_a_study_whose_last_node_has_left_says_so_once_and_goes_on_with_the_next(
    apart: Apart,
) -> None:
    with nodes.cluster(apart.root / "nodes", 1) as cluster:
        command = ["search", "--trials", 7, "--epochs", EPOCHS, *SMALL]
        command += ["--ray-address", cluster.address, "--checkpoints", apart.root / "shared"]
        process = apart.start(*command)
        wait_for(lambda: running(apart, epochs=1), process)
        cluster.tell("kill 0")
        log = apart.study / "study.log"
        wait_for(lambda: NO_ROOM in log.read_text(encoding="utf-8"), process)
        cluster.tell("add")
        code, errors = ended(process)
        assert code == 0, errors
    assert errors.count(NO_ROOM) == 1
    check_whole(apart, planned=7)


def test_a_driver_that_loses_its_cluster_goes_on_with_another_one(apart: Apart) -> None:
    """The head dies with the driver's node; the next cluster takes up every trial's checkpoint."""
    search = ["--debug", "search", "--trials", 7, "--epochs", EPOCHS, *SMALL]
    places = ["--checkpoints", apart.root / "shared"]
    with nodes.cluster(apart.root / "first", 2) as cluster:
        process = apart.start(*search, "--ray-address", cluster.address, *places)
        wait_for(lambda: len(running(apart, epochs=3)) == 2, process)
        cluster.tell("kill head")
        code, errors = ended(process)
        assert code == 75, errors
        assert "run the same command again" in errors
    assert not running(apart)
    lost = [trial for trial in apart.trials() if trial.user_attrs.get("superseded")]
    assert len(lost) == 2
    with nodes.cluster(apart.root / "second", 2) as cluster:
        process = apart.start(*search, "--ray-address", cluster.address, *places)
        code, errors = ended(process)
        assert code == 0, errors
    check_whole(apart, planned=7)
    for trial in lost:
        epochs = trained(apart.study, census.lineage(trial))
        assert len(epochs) - len(set(epochs)) <= 1, "more than one epoch was trained twice"


def test_a_study_that_no_node_sees_is_refused_with_one_line(apart: Apart) -> None:
    """Without --checkpoints every node has to see the study's folder."""
    with nodes.cluster(apart.root / "nodes", 1) as cluster:
        code, errors = ended(apart.start("search", "--ray-address", cluster.address, *SMALL))
    assert code == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert "does not see" in line
    assert "--checkpoints" in line
    assert not running(apart)
