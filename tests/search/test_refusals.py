"""What a search goes by is read, and refused, before anything of its study is changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.search import code, queue
from autosd.search.ready import check
from autosd.search.run import Outcome, run_search

REFUSED = "began with other code"


@pytest.fixture
def values() -> dict[str, Any]:
    return {
        "name": "small",
        "recipe": {"data": "digits", "model": "resnet8", "epochs": 1, "batch_size": 256},
        "space": "label_smoothing",
        "trials": 2,
        "finalists": {"count": 0, "seeds": 1},
    }


def search(values: dict[str, Any], root: Path) -> Outcome:
    ready = check(StudyDefinition.parse(values))
    return run_search(ready, root, engine="inline")


def change_code(study: Path) -> None:
    """Let the study have begun with another torch."""
    file = study / code.FILE
    kept = json.loads(file.read_text())
    kept["code"]["versions"]["torch"] = "2.0"
    file.write_text(json.dumps(kept))


def leave_request(study: Path) -> Path:
    params = {"strategy": "label_smoothing", "label_smoothing.smoothing": 0.07}
    return queue.leave(study, params, "a test").path


def snapshot(study: Path) -> dict[str, bytes]:
    return {
        path.relative_to(study).as_posix(): path.read_bytes()
        for path in study.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_other_code_is_refused_before_plan_queue_or_record_change(
    values: dict[str, Any], tmp_path: Path
) -> None:
    study = search(values, tmp_path).folder.path
    change_code(study)
    leave_request(study)
    before = snapshot(study)
    with pytest.raises(AutosdError, match=REFUSED):
        search({**values, "trials": 4}, tmp_path)
    assert snapshot(study) == before


def test_a_complete_study_of_other_code_is_shown(values: dict[str, Any], tmp_path: Path) -> None:
    study = search(values, tmp_path).folder.path
    change_code(study)
    assert not search(values, tmp_path).worked


def test_a_spent_study_of_other_code_is_shown(values: dict[str, Any], tmp_path: Path) -> None:
    study = search({**values, "trials": 1}, tmp_path).folder.path
    change_code(study)
    assert not search({**values, "time_budget": 0.1}, tmp_path).worked


def test_a_request_does_not_bring_other_code_into_a_study_that_patience_ended(
    values: dict[str, Any], tmp_path: Path
) -> None:
    impatient = {**values, "trials": 9, "patience": 1}
    ended = search(impatient, tmp_path)
    assert ended.ended
    study = ended.folder.path
    change_code(study)
    request = leave_request(study)
    with pytest.raises(AutosdError, match=REFUSED):
        search(impatient, tmp_path)
    assert request.is_file()
