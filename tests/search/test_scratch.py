"""Temporary folders of runs that were killed."""

import shutil
from pathlib import Path

import pytest

from autosd.search import scratch


def abandoned(root: Path) -> Path:
    """The folder of a killed run, with what Ray had written."""
    folder = root / "asd-killed"
    (folder / "session/logs").mkdir(parents=True)
    (folder / "session/logs/agent.log").write_text("words")
    (folder / "latest").symlink_to(folder / "session")
    (folder / scratch.OWNER).touch()
    return folder


def test_the_folder_of_a_killed_run_goes(tmp_path: Path) -> None:
    folder = abandoned(tmp_path)
    scratch.sweep(tmp_path)
    assert not folder.exists()


def test_what_an_agent_writes_meanwhile_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, removed = abandoned(tmp_path), shutil.rmtree

    def written_again(path: Path, ignore_errors: bool) -> None:
        removed(path, ignore_errors)
        Path(path).mkdir()

    with monkeypatch.context() as agent:
        agent.setattr("shutil.rmtree", written_again)
        scratch.sweep(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [scratch.OWNER, "session"]
    scratch.sweep(tmp_path)
    assert not folder.exists()


def test_what_an_agent_makes_anew_goes_when_it_has_settled(tmp_path: Path) -> None:
    again, other = tmp_path / "asd-again", tmp_path / "asd-of-somebody"
    (again / "session_1/logs").mkdir(parents=True)
    (other / "letters").mkdir(parents=True)
    scratch.sweep(tmp_path)
    assert again.is_dir()
    scratch.sweep(tmp_path, settled=0.0)
    assert not again.exists()
    assert other.is_dir()


def test_the_folder_of_a_living_run_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch.Scratch() as living:
        scratch.sweep(living.path.parent)
        assert living.path.is_dir()
    assert not living.path.exists()
