"""The dashboard polled ten times a second while a search writes: no error on either side."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from autosd.cli.main import main; main()"]
STUDY = """
name: polled
recipe: {data: digits, model: resnet8, epochs: 3, batch_size: 64}
space: label_smoothing
trials: 12
finalists: {count: 1, seeds: 1}
"""
ROUTES = (
    "/api/studies/1",
    "/api/studies",
    "/api/studies/1/param_importances",
    "/api/meta",
    "/dashboard/studies/1/analytics",
    "/csv/1",
)
"""What the page asks for; the study itself most often."""
HANG = 300.0
"""Seconds after which what should have happened never will."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that end with the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait(HANG)


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def port_of(dashboard: subprocess.Popen[str]) -> int:
    """The port that the dashboard says it listens on."""
    assert dashboard.stdout is not None
    for line in dashboard.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError("the dashboard did not say where it listens")


class Poller(threading.Thread):
    """Asks ten times a second until `over`."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.over = port, threading.Event()
        self.answers: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.states: list[Counter[str]] = []

    def run(self) -> None:
        due = time.monotonic()
        while not self.over.is_set():
            self._ask(ROUTES[self.answers.total() // 2 % len(ROUTES)] if self._odd() else ROUTES[0])
            due = max(due + 0.1, time.monotonic())
            self.over.wait(due - time.monotonic())

    def _odd(self) -> bool:
        return self.answers.total() % 2 == 1

    def _ask(self, route: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG)
        with contextlib.closing(connection):
            connection.request("GET", route)
            answer = connection.getresponse()
            body = answer.read()
        self.answers[answer.status] += 1
        if answer.status != 200:
            self.wrong.append(f"{route}: {answer.status} {body[:200]!r}")
        elif route == ROUTES[0]:
            trials = json.loads(body)["trials"]
            self.states.append(Counter(trial["state"] for trial in trials))


@pytest.mark.parametrize("engine", [["--inline"], pytest.param([], marks=pytest.mark.ray)])
def test_neither_dashboard_nor_search_sees_an_error(
    tmp_path: Path, started: list[subprocess.Popen[str]], engine: list[str]
):
    (tmp_path / "polled.yaml").write_text(STUDY)
    search = start(tmp_path, "search", "polled.yaml", *engine)
    started.append(search)
    while not (tmp_path / "runs/polled/study.yaml").is_file():
        assert search.poll() is None, search.communicate()
        time.sleep(0.05)
    dashboard = start(tmp_path, "dashboard", "polled", "--port", "0")
    started.append(dashboard)
    poller = Poller(port_of(dashboard))
    poller.start()
    said, _ = search.communicate(timeout=HANG)
    poller.over.set()
    poller.join(HANG)
    assert search.returncode == 0, said
    check(poller, tmp_path / "runs/polled/study.log", dashboard)


def check(poller: Poller, log: Path, dashboard: subprocess.Popen[str]) -> None:
    asked, running = poller.answers.total(), sum(1 for one in poller.states if one["Running"])
    print(f"dashboard: {asked} requests, {running} while trials ran, {len(poller.wrong)} wrong")
    assert poller.wrong == []
    assert running > 10
    counted = [one.total() for one in poller.states]
    assert counted == sorted(counted)
    lines = log.read_text().splitlines()
    assert [line for line in lines if re.search(r" (WARNING|ERROR) ", line)] == []
    assert dashboard.poll() is None
    dashboard.terminate()
    errors, _ = dashboard.communicate(timeout=HANG)
    assert "Traceback" not in errors
    assert "rror" not in errors
