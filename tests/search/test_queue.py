"""Requests of users become trials once each, whatever is killed when."""

import subprocess
import sys
from pathlib import Path

import pytest

from autosd.errors import AutosdError
from autosd.search import ledger, queue
from autosd.search.knobs import STRATEGY
from autosd.search.study import StudyFolder, close

from . import drive
from .counter import Desk, open_desk

PARAMS = {STRATEGY: "masd", "optimizer.lr": 0.2, "masd.mask_ratio": 0.5}
KILLED = """
import os, signal, sys
from pathlib import Path
from autosd.search import queue
from autosd.search.study import StudyFolder
Path.unlink = lambda *words, **options: os.kill(os.getpid(), signal.SIGKILL)
folder = StudyFolder.find("s", Path(sys.argv[1]))
study = folder.load(read_only=False)
queue.take_up(study, folder.space, folder.path, 12)
"""


def take_up(desk: Desk, planned: int = 12) -> int:
    about = desk.study, desk.folder.space, desk.folder.path, planned
    return queue.take_up(*about, desk.said.append)


def asked(desk: Desk) -> list[dict[str, object]]:
    """Parameters of the trials of users, in order."""
    return [
        trial.system_attrs.get("fixed_params", trial.params)
        for trial in ledger.trials(desk.study)
        if trial.user_attrs.get("origin") == "user"
    ]


def test_a_request_is_the_next_trial_after_those_that_wait(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE) as desk:
        object.__setattr__(desk.bridge.search, "take_up", lambda: take_up(desk))
        for _ in range(2):
            desk.ask()
        request = queue.leave(desk.folder.path, PARAMS, "mine.yaml")
        desk.ask()
        job = desk.ask()
        trial = desk.trial(job.number)
        assert trial.params == PARAMS
        assert trial.user_attrs["origin"] == "user"
        assert trial.user_attrs[queue.MARK] == request.name
        assert queue.requests(desk.folder.path) == []


def test_a_kill_between_commit_and_removal_neither_loses_nor_doubles(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE) as desk:
        queue.leave(desk.folder.path, PARAMS, "mine.yaml")
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
        assert done.returncode == -9
        assert len(queue.requests(desk.folder.path)) == 1
    with open_desk(tmp_path, drive.SPACE) as desk:
        assert asked(desk) == [PARAMS]
        assert take_up(desk) == 0
        assert queue.requests(desk.folder.path) == []
        assert asked(desk) == [PARAMS]


def test_an_attempt_that_is_repeated_does_not_bring_the_request_back(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE) as desk:
        request = queue.leave(desk.folder.path, PARAMS, "mine.yaml")
        content = request.path.read_text()
        take_up(desk)
        for _ in range(4):
            job = desk.ask()
        desk.fail(job, "worker")
        request.path.write_text(content)
        assert take_up(desk) == 0
        counted = ledger.counts(desk.study)
        assert (counted.waiting, counted.superseded) == (1, 1)


def test_a_full_plan_leaves_requests_where_they_are(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE) as desk:
        for ratio in (0.1, 0.2, 0.3):
            queue.leave(desk.folder.path, {**PARAMS, "masd.mask_ratio": ratio}, "mine.yaml")
        assert take_up(desk, planned=3) == 0
        assert take_up(desk, planned=5) == 2
        assert len(queue.requests(desk.folder.path)) == 1
        assert take_up(desk, planned=6) == 1


STRANGE = {
    "params: {strategy: masd}\nsource: x\n": "optimizer.lr: is missing",
    "params: {strategy: none}\nsource: x\n": "named 'none'",
    "params: {strategy: cross_entropy, optimizer.lr: 0.1}": "a part of one",
    "params: {1: 2}": "no request",
    "- masd": "no request",
    "!!python/object:os.system x": "tag",
}


def test_a_file_that_is_no_request_is_told_and_dropped(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE) as desk:
        path = desk.folder.path / "queue/strange.yaml"
        path.parent.mkdir()
        for text, fault in STRANGE.items():
            path.write_text(text)
            assert take_up(desk) == 0
            assert fault in desk.said.pop()
            assert not path.exists()
        assert asked(desk) == []


def test_parameters_outside_the_space_never_reach_the_storage(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE) as desk:
        with pytest.raises(AutosdError, match=r"masd.mask_ratio: 7 is not in"):
            ledger.enqueue(desk.study, desk.folder.space, {**PARAMS, "masd.mask_ratio": 7}, "user")
        assert asked(desk) == []


def test_a_study_without_requests_has_no_folder_for_them(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE) as desk:
        assert take_up(desk) == 0
        assert not (desk.folder.path / "queue").exists()
    study = StudyFolder.find("s", tmp_path).load()
    assert ledger.counts(study).waiting == 3
    close(study)
