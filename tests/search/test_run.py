"""A whole search with real training: begun, repeated, extended, and on Ray."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.files import write_text
from autosd.recipe import StudyDefinition
from autosd.search.finalists import BASELINE
from autosd.search.jobs import Job
from autosd.search.lock import read_owner
from autosd.search.progress import Progress
from autosd.search.ready import check
from autosd.search.run import Outcome, run_search
from autosd.search.study import close
from autosd.search.worker import Worker

SPACE = """
recipe:
  optimizer.lr: {log_uniform: [0.03, 0.3], default: 0.1}
strategies:
  cross_entropy:
  label_smoothing: {smoothing: {uniform: [0.0, 0.3]}}
"""


class Listener:
    """Keeps what a watch is told."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.said: list[str] = []

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    def say(self, line: str) -> None:
        self.said.append(line)

    def lost(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """A study of two families with few, short trials."""
    (tmp_path / "two.yaml").write_text(SPACE)
    return {
        "name": "small",
        "recipe": {"data": "digits", "model": "resnet8", "epochs": 2, "batch_size": 64},
        "space": str(tmp_path / "two.yaml"),
        "trials": 5,
        "finalists": {"count": 1, "seeds": 2},
    }


def search(values: dict[str, Any], root: Path, watch: Listener | None = None) -> Outcome:
    """Begin the study, or go on with it, in this process."""
    ready = check(StudyDefinition.parse(values))
    return run_search(ready, root, engine="inline", watch=watch)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of trials and finalists."""
    kinds = ("trials", "finalists")
    paths = [p for kind in kinds for p in (folder / kind).rglob("*") if p.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_search_fills_its_plan_confirms_the_best_and_can_be_repeated(
    values: dict[str, Any], tmp_path: Path
) -> None:
    watch = Listener()
    outcome = search(values, tmp_path / "runs", watch)
    folder = tmp_path / "runs/small"
    assert outcome.counts.counted == 5
    assert outcome.counts.running == outcome.counts.waiting == 0
    labels = [one.label for one in outcome.finalists]
    assert BASELINE in labels
    assert all(one.n == 2 and 0.1 < one.mean <= 1 for one in outcome.finalists)
    assert (outcome.resumed, outcome.worked) == (False, True)
    assert 0 < (outcome.use.share or 0) <= 1
    check_folder(folder)
    check_progress(watch)
    before = snapshot(folder)
    again = search(values, tmp_path / "runs")
    assert (again.resumed, again.worked) == (True, False)
    assert again.finalists == outcome.finalists
    assert snapshot(folder) == before


def check_folder(folder: Path) -> None:
    """What the trials and finalists left."""
    for number in range(5):
        trial = folder / f"trials/{number:04d}"
        names = {path.name for path in trial.iterdir()}
        assert {"recipe.yaml", "history.jsonl", "last.pt", "logits.npz"} == names
        curve = [json.loads(line) for line in (trial / "history.jsonl").read_text().splitlines()]
        assert [record["epoch"] for record in curve] == [1, 2]
        assert "select" not in curve[0]["evaluated"]
    for run in (folder / "finalists").glob("*/"):
        names = {path.name for path in run.iterdir()}
        assert {"recipe.yaml", "history.jsonl", "result.json", "model"} <= names
        assert "last.pt" not in names
        assert yamlfile.read(run / "recipe.yaml")["seed"] in (1000, 1001)
    split = json.loads((folder / "split.json").read_text())
    assert split["test_readings"] == []
    assert not (folder / "study.db-wal").exists()


def check_progress(watch: Listener) -> None:
    """Numbers only grow, the search comes first, and it is told who is best."""
    stages = [one.stage for one in watch.seen]
    assert stages == sorted(stages, key=["search", "finalists"].index)
    finished = [one.finished for one in watch.seen if one.stage == "search"]
    assert finished == sorted(finished)
    last = [one for one in watch.seen if one.stage == "search"][-1]
    assert (last.complete, last.planned, last.running) == (5, 5, ())
    assert last.best is not None
    assert max(len(one.running) for one in watch.seen) == 1


def test_larger_plan_adds_trials_and_touches_none(values: dict[str, Any], tmp_path: Path) -> None:
    values["finalists"]["count"] = 0
    search(values, tmp_path)
    before = snapshot(tmp_path / "small")
    outcome = search({**values, "trials": 7}, tmp_path)
    assert outcome.counts.counted == 7
    after = snapshot(tmp_path / "small")
    kept = {name: data for name, data in before.items() if not name.endswith("last.pt")}
    assert {name: after[name] for name in kept} == kept


def test_finalist_that_fails_is_spoken_of(values: dict[str, Any], tmp_path: Path) -> None:
    """Its student cannot be written: a file lies where the folder should be."""
    values["finalists"]["seeds"] = 1
    spoilt = tmp_path / "small/finalists/cross_entropy-1000"
    watch = Listener()
    search({**values, "trials": 2, "finalists": {"count": 0}}, tmp_path)
    shutil.rmtree(tmp_path / "small/finalists", ignore_errors=True)
    write_text(spoilt / "model", "in the way")
    definition = yamlfile.read(tmp_path / "small/study.yaml")
    definition["finalists"] = values["finalists"]
    write_text(tmp_path / "small/study.yaml", yamlfile.dumps(definition))
    outcome = search({**values, "trials": 2}, tmp_path, watch)
    assert BASELINE not in [one.label for one in outcome.finalists]
    said = "\n".join(watch.said)
    assert "finalists/cross_entropy-1000 gave no result: " in said
    assert "cross_entropy is not ranked" in said


def test_end_happens_with_the_lock_held_and_the_study_closed(
    values: dict[str, Any], tmp_path: Path
) -> None:
    seen: list[tuple[int, bool]] = []

    def look(outcome: Outcome) -> None:
        owner = read_owner(outcome.folder.lock_path)
        wal = (outcome.folder.path / "study.db-wal").exists()
        seen.append((owner.pid if owner else 0, wal))

    ready = check(StudyDefinition.parse({**values, "trials": 2, "finalists": {"count": 0}}))
    run_search(ready, tmp_path, engine="inline", ended=look)
    assert seen == [(os.getpid(), False)]


def test_finalists_of_other_data_are_refused_before_the_record_is_touched(
    values: dict[str, Any], tmp_path: Path
) -> None:
    folder = search({**values, "trials": 2}, tmp_path).folder
    write_text(folder.finalists / "cross_entropy-1000/job.json", '{"data": "other"}')
    study = folder.load(read_only=False)
    study.ask()
    close(study)
    before = folder.records(hidden=True)
    with pytest.raises(AutosdError, match="cross_entropy-1000: was trained with other data"):
        search({**values, "trials": 4}, tmp_path)
    assert not (folder.path / "study.db-wal").exists()
    assert folder.records(hidden=True) == before


def test_changed_definition_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    search({**values, "trials": 2, "finalists": {"count": 0}}, tmp_path)
    changed = {**values, "recipe": {**values["recipe"], "epochs": 3}, "finalists": {"count": 0}}
    with pytest.raises(AutosdError, match="epochs"):
        search(changed, tmp_path)


def test_changed_data_are_refused(values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    values["recipe"]["data"] = f"npz:{path}"
    values |= {"trials": 2, "finalists": {"count": 0}}
    write_npz(path, seed=1)
    search(values, tmp_path)
    write_npz(path, seed=2)
    with pytest.raises(AutosdError, match="not the data it began with"):
        search(values, tmp_path)


def write_npz(path: Path, seed: int) -> None:
    stream = np.random.default_rng(seed)
    images = stream.integers(0, 256, (300, 8, 8), dtype=np.uint8)
    labels = np.arange(300) % 3
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)


def test_search_never_reads_the_test_images(values: dict[str, Any], tmp_path: Path) -> None:
    """They cannot be read at all, and the search does not notice."""
    path = tmp_path / "some.npz"
    write_npz(path, seed=1)
    content = bytearray(path.read_bytes())
    middle = content.index(b"test_images.npy") + 10_000
    content[middle : middle + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(Exception, match="CRC"), np.load(path) as arrays:
        arrays["test_images"]
    values["recipe"]["data"] = f"npz:{path}"
    assert search({**values, "trials": 2}, tmp_path).finalists


def test_all_unknown_names_are_refused_together_and_nothing_is_written(
    values: dict[str, Any], tmp_path: Path
) -> None:
    wrong = {
        **values,
        "sampler": "tpee",
        "pruner": "famly",
        "space": "seads",
        "recipe": {**values["recipe"], "model": "resnet7", "strategies": ["mads"]},
    }
    with pytest.raises(AutosdError) as error:
        check(StudyDefinition.parse(wrong))
    for name in ("tpee", "famly", "resnet7", "mads", "seads"):
        assert name in str(error.value)
    assert not (tmp_path / "small").exists()


ON_RAY = """
import json, sys
from pathlib import Path
from autosd.recipe import StudyDefinition
from autosd.search.ready import check
from autosd.search.run import run_search

if __name__ == "__main__":
    ready = check(StudyDefinition.parse(json.loads(sys.argv[1])))
    outcome = run_search(ready, Path(sys.argv[2]))
    print(outcome.counts.counted, len(outcome.finalists), outcome.worked)
"""


@pytest.mark.ray
def test_used_workers_of_ray_train_as_a_fresh_one(values: dict[str, Any], tmp_path: Path) -> None:
    values |= {"trials": 8, "slots": 2}
    script = tmp_path / "search.py"
    script.write_text(ON_RAY)
    command = [sys.executable, str(script), json.dumps(values), str(tmp_path / "runs")]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    counted, finalists, worked = done.stdout.split()
    assert (counted, worked) == (b"8", b"True")
    assert int(finalists) >= 2
    folder = tmp_path / "runs/small/trials/0007"
    there = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert all(record["record"]["threads"] == 1 for record in there)
    assert measured(there) == measured(trained_here(folder, tmp_path / "again"))


def trained_here(trial: Path, folder: Path) -> list[dict[str, Any]]:
    """The curve of a trial's recipe in a worker of this process."""
    worker = Worker()
    worker.begin(Job("again", yamlfile.read(trial / "recipe.yaml"), str(folder)))
    curve: list[dict[str, Any]] = []
    while True:
        result = worker.step()
        curve += result["history"]
        if result["done"]:
            return json.loads(json.dumps(curve))  # type: ignore[no-any-return]


def measured(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What does not depend on the clock."""
    return [{key: record[key] for key in ("epoch", "train", "evaluated")} for record in curve]
