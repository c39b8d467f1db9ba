"""Runs on other machines: their checkpoints are at the place, all else comes home."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autosd.errors import AutosdError, EngineLost
from autosd.recipe import Recipe
from autosd.search import inline
from autosd.search.cluster import Cluster, chosen
from autosd.search.jobs import Bridge, Job, Result, failure
from autosd.search.lists import ListBridge, Plan, Run
from autosd.search.lock import StudyLock, TakenOver
from autosd.search.place import Place
from autosd.search.placed import RECORD, Placed
from autosd.search.worker import Worker

RECIPE = Recipe.parse({"data": "digits", "model": "resnet8", "epochs": 2, "batch_size": 512})


@pytest.fixture(autouse=True)
def flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker owns its process: put back what it sets."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)


class Home:
    """A study folder with one run, and places of checkpoints beside it."""

    def __init__(self, root: Path) -> None:
        self.study, self.root = root / "study", root
        self.run = self.study / "finalists/cross_entropy-0"
        self.lock = StudyLock(self.study / ".lock")

    def cluster(self, name: str = "shared") -> Cluster:
        return Cluster("auto", str(self.root / name))

    def bridge(self) -> ListBridge:
        job = Job(
            "",
            {},
            "",
            final=("val",),
            keep_logits=("val",),
            export=True,
            token=self.lock.token,
            lock=str(self.lock.path),
        )
        return ListBridge(
            Plan(self.study / "finalists", "data", job), [Run("cross_entropy", RECIPE)]
        )

    def placed(self, cluster: Cluster | None) -> Placed:
        return Placed(self.bridge(), cluster)

    def away(self, name: str = "shared") -> list[str]:
        """Checkpoints at a place."""
        return [one for one in Place(str(self.root / name)).names() if one.endswith("last.pt")]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    with home.lock:
        yield home


def begun(placed: Bridge) -> tuple[Job, Result, Worker]:
    """A run after its first epoch."""
    job = placed.ask()
    assert isinstance(job, Job)
    worker = Worker()
    worker.begin(job)
    return job, worker.step(), worker


def test_a_finished_run_leaves_the_same_files_as_at_home(home: Home, tmp_path: Path) -> None:
    inline.run(home.placed(home.cluster()), Worker())
    other = Home(tmp_path / "other")
    with other.lock:
        inline.run(other.placed(None), Worker())
    files = {p.relative_to(home.study) for p in home.study.rglob("*") if p.is_file()}
    assert files == {p.relative_to(other.study) for p in other.study.rglob("*") if p.is_file()}
    weights = [load_file(one.run / "model/model.safetensors") for one in (home, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    with np.load(home.run / "logits.npz") as own, np.load(other.run / "logits.npz") as theirs:
        assert np.array_equal(own["val"], theirs["val"])
    assert not list(Path(home.root / "shared").rglob("*.pt"))


def test_a_worker_writes_nothing_into_the_study(home: Home) -> None:
    placed = home.placed(home.cluster())
    before = set(home.study.rglob("*"))
    job, _, _ = begun(placed)
    fresh = {path.name for path in set(home.study.rglob("*")) - before}
    assert fresh == {"recipe.yaml", "job.json", RECORD, home.run.name, "finalists"} - {
        path.name for path in before
    }
    assert len(home.away()) == 1
    assert Place(job.place).address.endswith("finalists/cross_entropy-0")


def test_an_interrupted_run_comes_home_and_goes_on_anywhere(home: Home) -> None:
    placed = home.placed(home.cluster())
    job, _, _ = begun(placed)
    placed.complete(job, None, failure("interrupted", "the node was lost"))
    assert home.away() == []
    assert (home.run / "last.pt").is_file()
    again, result, _ = begun(placed)
    assert again.key == job.key
    assert [record["epoch"] for record in result["history"]] == [1, 2]


def test_a_place_that_fails_the_driver_ends_a_run_that_goes_on_when_it_is_mended(
    home: Home,
) -> None:
    placed = home.placed(home.cluster())
    job, _, _ = begun(placed)
    shared, away = home.root / "shared", home.root / "away"
    shared.rename(away)
    shared.write_text("no folder")
    with pytest.raises(EngineLost, match="run the same command again") as fault:
        placed.complete(job, None, failure("interrupted", "the node was lost"))
    assert str(fault.value).startswith(f"checkpoints {shared}")
    placed.close()
    with pytest.raises(EngineLost, match="run the same command again"):
        home.placed(home.cluster()).ask()
    shared.unlink()
    away.rename(shared)
    _, result, _ = begun(home.placed(home.cluster()))
    assert [record["epoch"] for record in result["history"]] == [1, 2]


@pytest.mark.parametrize("then", ["shared", "other", None])
def test_a_killed_session_is_taken_up_from_wherever_its_checkpoints_were(
    home: Home, then: str | None
) -> None:
    begun(home.placed(home.cluster()))
    assert len(home.away()) == 1
    placed = home.placed(None if then is None else home.cluster(then))
    _, result, _ = begun(placed)
    assert [record["epoch"] for record in result["history"]] == [1, 2]
    if then != "shared":
        assert home.away() == []
    assert (home.study / RECORD).exists() == (then is not None)


def test_a_worker_of_an_earlier_driver_keeps_nothing_more(home: Home) -> None:
    _, _, orphan = begun(home.placed(home.cluster()))
    home.lock.__exit__(None, None, None)
    home.lock = StudyLock(home.study / ".lock")
    with home.lock:
        home.placed(home.cluster()).ask()
        with pytest.raises(EngineLost, match="another process has taken over"):
            orphan.step()


def test_a_driver_that_comes_late_brings_nothing_home_and_removes_nothing(home: Home) -> None:
    late = home.placed(home.cluster())
    job, result, _ = begun(late)
    home.lock.path.unlink()
    with StudyLock(home.study / ".lock"):
        before = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
        result["files"] = {"logits.npz": b"x"}
        for write in (lambda: late.complete(job, result, None), late.close):
            late._away.clear()
            with pytest.raises(TakenOver, match="writes nothing more"):
                write()
        assert before == {p: p.read_bytes() for p in home.root.rglob("*") if p.is_file()}


def test_a_worker_cannot_write_outside_of_its_run(home: Home) -> None:
    placed = home.placed(home.cluster())
    job, result, _ = begun(placed)
    result["files"] = {"../../study.yaml": b"x"}
    with pytest.raises(AutosdError, match="leads out of it"):
        placed.complete(job, result, None)
    assert not (home.study / "study.yaml").exists()


def test_an_unreadable_record_names_the_way_out(home: Home) -> None:
    home.study.joinpath(RECORD).write_text("{")
    with pytest.raises(AutosdError, match=f"{RECORD}: cannot be read .* Remove it"):
        home.placed(None).ask()
    home.study.joinpath(RECORD).write_text(json.dumps({"address": "nosuch://x"}))
    with pytest.raises(AutosdError, match=f"nosuch.*remove .*{RECORD}"):
        home.placed(None).ask()


@pytest.mark.parametrize(
    ("address", "checkpoints", "fault"),
    [
        ("ray://head:10001", None, "--ray-address auto"),
        ("head", None, "HOST:PORT or auto"),
        (None, "s3://bucket", "goes with --ray-address"),
        ("head:6379", "sftp://me:secret@host/x", "has a password"),
    ],
)
def test_options_that_make_no_cluster_are_refused(
    address: str | None, checkpoints: str | None, fault: str
) -> None:
    with pytest.raises(AutosdError, match=fault) as refused:
        chosen(address, checkpoints)
    assert "secret" not in str(refused.value)


def test_a_cluster_is_named_by_its_head_or_found() -> None:
    assert chosen(None, None) is None
    assert chosen("auto", None) == Cluster("auto")
    assert chosen("10.0.0.7:6379", "/shared") == Cluster("10.0.0.7:6379", "/shared")
    assert chosen("[fe80::1]:6379", None) == Cluster("[fe80::1]:6379")
