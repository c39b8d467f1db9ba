"""`autosd report` on the command line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from autosd.results.outcome import winner
from autosd.results.report.figures import FIGURES
from autosd.search.study import StudyFolder

from ..results.report.told import told
from .documented import assert_documented

Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a confirmed study `hand`; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    told(root, trials=8)
    return root


@pytest.fixture
def runs(made: Path, here: Path) -> Path:
    """A copy of it as `runs` of the working folder."""
    shutil.copytree(made, here / "runs")
    return here / "runs"


def test_the_sentence_the_path_and_the_size_are_printed(invoke: Invoke, runs: Path) -> None:
    done = invoke("report", "hand")
    assert done.exit_code == 0
    assert "masd-default is better than cross-entropy: +5.3 points" in done.stdout
    assert "report: runs/hand/report.html  (4." in done.stdout
    assert (runs / "hand/report.html").stat().st_size < 6_000_000


def test_one_json_object_on_standard_output(invoke: Invoke, runs: Path, here: Path) -> None:
    (runs / "hand/environment.json").unlink()
    done = invoke("report", "runs/hand", "--out", "out/page.html", "--json")
    values = json.loads(done.stdout)
    assert_documented("report", values)
    (told_of,) = values["studies"]
    won = winner(StudyFolder.open(runs / "hand"))
    assert won is not None
    assert (told_of["best"]["value"], told_of["best"]["sd"]) == (won.score.value, won.score.sd)
    assert told_of["missing"][0].startswith("environment.json is missing")
    assert values["bytes"] == (here / "out/page.html").stat().st_size
    assert set(values["figures"]) <= set(FIGURES)


def test_two_studies_are_compared(invoke: Invoke, runs: Path, here: Path) -> None:
    shutil.copytree(runs / "hand", here / "other/hand")
    done = invoke("report", "hand", "other/hand", "--json")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert_documented("report", values)
    assert [one["study"] for one in values["studies"]] == ["hand", "hand"]
    assert "all differences are equal" in values["sentence"]
    assert (runs / "hand/report-hand.html").is_file()


def test_without_a_browser_the_page_is_made_all_the_same(
    invoke: Invoke, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/no/browser/here")
    done = invoke("report", "hand", "--figures", "png")
    assert done.exit_code == 1
    assert "report: runs/hand/report.html" in done.stdout
    assert "error: pictures need Chrome or Chromium" in done.stderr
    assert (runs / "hand/report.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hnad"], "Did you mean 'hand'?"),
        (["hand", "--figures-dir", "x"], "--figures-dir needs --figures"),
        (["hand", "hand", "hand"], "one study or two"),
        (["hand", "--out", "runs"], "runs: is a folder; --out needs the name of a file"),
    ],
)
def test_what_cannot_be_told_is_said(
    invoke: Invoke, runs: Path, words: list[str], said: str
) -> None:
    done = invoke("report", *words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (runs / "hand/report.html").exists()
