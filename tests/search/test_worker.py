"""The worker: real training on small real data, and what becomes of faults."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import EngineLost
from autosd.recipe import DataSpec, Recipe
from autosd.search.jobs import Job, Result
from autosd.search.lock import StudyLock
from autosd.search.worker import Worker
from autosd.training.export import load_student

VALUES = {"data": "digits", "epochs": 3, "batch_size": 64, "strategies": [{"masd": {}}]}


@pytest.fixture(autouse=True)
def flags() -> Iterator[None]:
    """A worker owns its process: put back what it sets."""
    before = torch.backends.cudnn.deterministic
    yield
    torch.backends.cudnn.deterministic = before


def job(folder: Path, **values: Any) -> Job:
    recipe = Recipe.parse({**VALUES, **values})
    return Job("trials/0000", recipe.mapping(), str(folder), keep_logits=("val", "select"))


def train(worker: Worker, task: Job, epochs: int = 99) -> list[Result]:
    """Step a job to its end, or for some epochs."""
    worker.begin(task)
    results = [worker.step()]
    while not results[-1]["done"] and len(results) < epochs:
        results.append(worker.step())
    return results


def curve(results: list[Result]) -> list[dict[str, Any]]:
    """What was measured, without times."""
    records = [record for result in results for record in result["history"]]
    return [
        {key: record[key] for key in ("epoch", "train", "evaluated", "terms")} for record in records
    ]


def test_job_leaves_logits_and_a_curve(tmp_path: Path) -> None:
    results = train(Worker(), job(tmp_path))
    assert [result["epoch"] for result in results] == [1, 2, 3]
    assert [result["done"] for result in results] == [False, False, True]
    assert [len(result["history"]) for result in results] == [1, 1, 1]
    with np.load(tmp_path / "logits.npz") as logits:
        assert {part: logits[part].shape for part in logits} == {
            "val": (500, 10),
            "select": (500, 10),
        }
        assert logits["val"].dtype == np.float16


def test_curve_in_a_used_worker_equals_that_in_a_fresh_one(tmp_path: Path) -> None:
    used = Worker()
    train(used, job(tmp_path / "a", strategies=["toast"], seed=5))
    random.seed(99)
    torch.manual_seed(99)
    after = train(used, job(tmp_path / "b"))
    assert curve(after) == curve(train(Worker(), job(tmp_path / "c")))


def test_resumed_job_sends_the_whole_curve_first(tmp_path: Path) -> None:
    whole = train(Worker(), job(tmp_path / "whole"))
    train(Worker(), job(tmp_path / "cut"), epochs=2)
    rest = train(Worker(), job(tmp_path / "cut"))
    assert [record["epoch"] for record in rest[0]["history"]] == [1, 2, 3]
    assert curve(rest) == curve(whole)


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_job_whose_checkpoint_cannot_be_read_is_trained_from_its_start(
    tmp_path: Path, content: bytes
) -> None:
    whole = train(Worker(), job(tmp_path / "whole"))
    train(Worker(), job(tmp_path / "cut"), epochs=2)
    (tmp_path / "cut/last.pt").write_bytes(content)
    again = train(Worker(), job(tmp_path / "cut"))
    assert curve(again) == curve(whole)
    logits = [(tmp_path / name / "logits.npz").read_bytes() for name in ("cut", "whole")]
    assert logits[0] == logits[1]


def test_checkpoint_of_a_driver_that_lost_the_study_is_left_alone(tmp_path: Path) -> None:
    path, last = tmp_path / ".lock", tmp_path / "t/last.pt"
    last.parent.mkdir()
    last.write_bytes(b"half a file")
    with StudyLock(path), pytest.raises(EngineLost, match="taken over"):
        Worker().begin(Job(**{**vars(job(last.parent)), "token": "older", "lock": str(path)}))
    assert last.read_bytes() == b"half a file"


def test_job_that_was_trained_to_its_end_only_finishes(tmp_path: Path) -> None:
    whole = train(Worker(), job(tmp_path))
    (tmp_path / "logits.npz").unlink()
    again = train(Worker(), job(tmp_path))
    assert len(again) == 1
    assert curve(again) == curve(whole)
    assert (tmp_path / "logits.npz").exists()


def test_threads_are_those_of_the_job(tmp_path: Path) -> None:
    train(Worker(), job(tmp_path), epochs=1)
    assert torch.get_num_threads() == 1


def test_divergence_is_a_result(tmp_path: Path) -> None:
    rates = {"name": "sgd", "lr": 10.0, "weight_decay": 1.0, "momentum": 0.99}
    last = train(Worker(), job(tmp_path, optimizer=rates, epochs=30, precision="fp32"))[-1]
    assert last["done"]
    assert last["failure"] is not None
    assert last["failure"]["kind"] == "diverged"
    assert last["failure"]["why"].startswith(f"diverged at epoch {last['epoch'] + 1}: ")


def test_fault_of_a_job_is_a_result_and_the_worker_goes_on(tmp_path: Path) -> None:
    worker = Worker()
    last = train(worker, job(tmp_path / "a", data="npz:/nowhere.npz"))[-1]
    assert last["done"]
    assert last["failure"] is not None
    assert last["failure"]["kind"] == "data"
    assert "/nowhere.npz" in last["failure"]["why"]
    assert "Traceback" in last["failure"]["traceback"]
    assert train(worker, job(tmp_path / "b"))[-1]["result"] == {}


class Cut:
    """What lies on a driver's machine that is not reached any more."""

    def data(self, spec: DataSpec, *, cache: Path | None, with_test: bool) -> Data:
        return load_data(spec, cache=cache, with_test=with_test)

    def bring(self, recipe: Recipe, root: Path) -> None:
        raise ConnectionError("the driver does not answer")


def test_files_that_cannot_be_brought_to_a_node_are_no_fault_of_the_recipe(tmp_path: Path) -> None:
    (last,) = train(Worker(Cut()), job(tmp_path))
    assert last["failure"] is not None
    assert last["failure"]["kind"] == "data"
    assert "the files that the recipe names cannot be read here" in last["failure"]["why"]


def test_final_metrics_and_student_are_kept_where_asked_for(tmp_path: Path) -> None:
    recipe = Recipe.parse(VALUES)
    task = Job(
        "finalists/masd-1000",
        recipe.mapping(),
        str(tmp_path),
        evaluate_on=(),
        final=("select",),
        export=True,
        details={"study": "digits"},
    )
    last = train(Worker(), task)[-1]
    assert last["failure"] is None
    assert last["result"] is not None
    assert 0.1 < last["result"]["select"]["top1"] <= 1
    assert len(load_student(tmp_path / "model").class_names) == 10
    assert json.loads((tmp_path / "model/model.json").read_text())["details"]["study"] == "digits"


def test_worker_of_a_driver_that_lost_the_study_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with StudyLock(path) as lock:
        fenced = Job(**{**vars(job(tmp_path / "t")), "token": lock.token, "lock": str(path)})
        worker = Worker()
        train(worker, fenced, epochs=1)
        before = (tmp_path / "t/last.pt").read_bytes()
    with StudyLock(path), pytest.raises(EngineLost, match="taken over"):
        worker.step()
    assert (tmp_path / "t/last.pt").read_bytes() == before
