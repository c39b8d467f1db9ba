"""T10: nothing but reading passes, on loopback; requests go over a real socket."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from autosd.errors import AutosdError
from autosd.results.dashboard import _keep_true, server
from autosd.search.study import StudyFolder, close

WRITES = ["DELETE", "POST", "PUT", "PATCH", "OPTIONS", "delete"]


@pytest.fixture
def storage(tmp_path: Path) -> optuna.storages.RDBStorage:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, study_name="digits", direction="maximize")
    study.add_trial(
        optuna.trial.create_trial(
            value=0.5,
            params={"masd.mask_ratio": 0.1},
            distributions={"masd.mask_ratio": optuna.distributions.FloatDistribution(0, 1)},
        )
    )
    yield storage
    storage.engine.dispose()


@contextmanager
def serving(storage, **options) -> Iterator[tuple[str, int]]:
    running = server(storage, "127.0.0.1", 0, **options)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running.server_address
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def ask(address: tuple[str, int], method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_reading_passes_and_shows_parameter_names(storage):
    with serving(storage) as address:
        assert ask(address, "GET", "/dashboard")[0] == 200
        status, body = ask(address, "GET", "/api/studies/1")
        assert status == 200
        assert b"masd.mask_ratio" in body


@pytest.mark.parametrize("method", WRITES)
def test_every_other_method_is_refused(storage, method):
    with serving(storage) as address:
        status, body = ask(address, method, "/api/studies/1")
    assert status == 403
    assert b"--allow-edits" in body
    assert [summary.study_name for summary in optuna.get_all_study_summaries(storage)] == ["digits"]


def test_edits_can_be_allowed(storage):
    with serving(storage, allow_edits=True) as address:
        assert ask(address, "DELETE", "/api/studies/1")[0] == 204
    assert optuna.get_all_study_summaries(storage) == []


def test_it_binds_to_loopback_only(storage):
    with serving(storage) as address:
        assert address[0] == "127.0.0.1"


def test_a_taken_port_is_said_in_one_line(storage):
    with serving(storage) as address, pytest.raises(AutosdError, match=str(address[1])):
        server(storage, "127.0.0.1", address[1])


def test_a_study_that_cannot_be_swept_now_is_swept_later(root: Path, caplog):
    folder, over = StudyFolder.find("tiny", root), threading.Event()
    study = folder.load(read_only=False)
    lost = study.ask().number
    close(study)
    (root / "tiny/study.db").rename(root / "tiny/elsewhere.db")
    watch = threading.Thread(target=_keep_true, args=(folder, over, 0.01))
    watch.start()
    while "could not be looked at" not in caplog.text and watch.is_alive():
        over.wait(0.01)
    (root / "tiny/elsewhere.db").rename(root / "tiny/study.db")
    while state(folder, lost) == "running" and watch.is_alive():
        over.wait(0.01)
    over.set()
    watch.join()
    assert state(folder, lost) != "running"


def state(folder: StudyFolder, number: int) -> str:
    return next(one.state for one in folder.records(hidden=True) if one.number == number)
