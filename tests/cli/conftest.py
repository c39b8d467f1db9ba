import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autosd.cli.main import app

COMMAND = [sys.executable, "-P", "-c", "from autosd.cli.main import main; main()"]
"""As the installed script, which does not look for modules in the working folder."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def invoke(here: Path) -> Callable[..., Result]:
    """Run a command in this process, in an empty folder."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def autosd(here: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as a person does: in a process of its own, in an empty folder."""

    def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *(str(word) for word in words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=here, **options)

    return run


@pytest.fixture
def command() -> list[str]:
    """How to start autosd as a process."""
    return COMMAND
