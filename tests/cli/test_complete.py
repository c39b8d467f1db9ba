"""What the shell is offered, asked for as a shell asks."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autosd.cli import complete
from autosd.strategies.strategy import discover

ASK = """
import sys
from autosd.cli.main import app
try:
    app(prog_name="autosd")
finally:
    assert not {"torch", "ray", "scipy", "sklearn", "pandas"} & set(sys.modules), "heavy import"
"""


@pytest.fixture
def offered(here: Path) -> Callable[..., list[str]]:
    """What bash gets for a line whose last word is being typed."""

    def ask(*words: str) -> list[str]:
        line = {"COMP_WORDS": " ".join(["autosd", *words]), "COMP_CWORD": str(len(words))}
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            env={**os.environ, "_AUTOSD_COMPLETE": "complete_bash", **line},
            capture_output=True,
            text=True,
            cwd=here,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return ask


def test_commands_and_options_are_offered(offered):
    assert set(offered("re")) >= {"retrain"}
    assert set(offered("search", "--sa")) == {"--sampler"}


def test_studies_are_those_of_the_folder_asked_for(offered, here):
    for folder in ("runs/mine", "runs/other", "away/far"):
        (here / folder).mkdir(parents=True)
        (here / folder / "study.yaml").touch()
    (here / "runs/no-study").mkdir()
    assert offered("status", "") == ["mine", "other"]
    assert offered("status", "--dir", "away", "") == ["far"]
    assert offered("status", "o") == ["other"]


def test_names_are_offered_where_they_are_meant(offered):
    assert "fashion_mnist" in offered("search", "--data", "fa")
    assert offered("search", "--space", "compose_p") == ["compose_plain"]
    assert offered("search", "--sampler", "t") == ["tpe"]
    assert offered("search", "--pruner", "family-per") == ["family-percentile"]
    assert offered("list", "sam") == ["samplers"]


def test_the_last_of_several_strategies_is_continued(offered):
    assert offered("compare", "digits", "--strategies", "masd,tf") == ["masd,tf_kd"]
    assert complete.strategies("masd,dl") == ["masd,dlb"]
    assert complete.strategies("masd,mas") == []


def test_every_strategy_is_known_without_importing_one():
    assert complete.strategy_names() == list(discover())


def test_paths_of_data_and_files_are_continued(here):
    (here / "sets").mkdir()
    (here / "sets/a.npz").touch()
    (here / "sets/b.txt").touch()
    (here / "mine.yaml").touch()
    assert complete.data("npz:sets/") == ["npz:sets/a.npz"]
    assert complete.data("folder:s") == ["folder:sets/"]
    assert complete.data_or_file("mi") == ["mine.yaml"]
    assert complete.data("npz:nowhere/") == []
    assert "sets/" in complete.space("se")
    assert "seeds" in complete.space("se")
