"""The page on adding a strategy is true: its example, followed to the letter, works."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding-a-strategy.md"
NAME = "logit_penalty"
COPIED = ("autosd", "search_spaces", "studies", "tests/strategies")


def example(language: str) -> str:
    """The first block of a language on the page."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the page was followed."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in COPIED:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / file, folder / file)
    (folder / "autosd" / "strategies" / f"{NAME}.py").write_text(example("python"))
    (folder / "search_spaces" / f"{NAME}.yaml").write_text(example("yaml"))
    joint = folder / "search_spaces" / "joint.yaml"
    joint.write_text(joint.read_text() + f"  {NAME}:\n")
    return folder


def run(checkout: Path, *command: str) -> str:
    """What a Python command prints in the copy; the copy comes before an installed autosd."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_passes_the_conformance_suite(checkout):
    arguments = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/strategies/test_conformance.py",
        "-k",
        NAME,
    )
    output = run(checkout, *arguments)
    assert "passed" in output or re.search(r"\.{10,}", output)


def test_the_example_is_listed(checkout):
    program = "from autosd.cli.main import main; main()"
    listed = json.loads(run(checkout, "-c", program, "list", "strategies", "--json"))
    entries = listed if isinstance(listed, list) else listed["strategies"]
    (own,) = (entry for entry in entries if entry["name"] == NAME)
    assert own["slots"] == ["regulariser"]
    assert own["knobs"][0]["name"] == "weight"
    assert own["knobs"][0]["default"] == 0.05
    assert own["knobs"][0]["valid"] == "[0, 100]"


def test_one_word_puts_the_example_into_the_joint_space(checkout):
    program = (
        "from autosd.search.space import Space\n"
        "from autosd.strategies.check import check_combination\n"
        "from autosd.strategies.strategy import discover\n"
        "space = Space.read('joint', discover(), check_combination, stages=3)\n"
        f"print(space.default_params('{NAME}'))"
    )
    assert f"'{NAME}.weight': 0.05" in run(checkout, "-c", program)


def test_the_example_is_about_twenty_lines():
    body = [line for line in example("python").splitlines() if line.strip()]
    assert len(body) <= 24
