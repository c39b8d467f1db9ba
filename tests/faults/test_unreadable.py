"""What a user may not read or write is named in one line; the commands run as nobody."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .garbling import COMMANDS, STUDY, Opened, Said, one_of_each, run

NOBODY = 65534
"of archives".encode("cp437")  # read now: nobody may perhaps not read Python's own folder


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Be nobody inside the block; where the tests run as another than root nothing changes."""
    if os.getuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


def as_nobody(folder: Path, words: str) -> Said:
    """Run a command as a user without rights."""
    with without_rights():
        return run(folder, words)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that everybody may enter, with a cache of its own."""
    folder = Path(tempfile.mkdtemp(prefix="autosd-rights-"))
    folder.chmod(0o755)
    cache = folder / "cache"
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("HOME", str(cache))
    yield folder
    shutil.rmtree(folder)


def copy(source: Path, place: Path) -> Path:
    """A copy that belongs to nobody, so that only its rights decide."""
    work = place / "work"
    shutil.copytree(source, work)
    for path in (work, *work.rglob("*")):
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    return work


def check(said: Said, name: str, words: str) -> None:
    assert said.bug is None, (words, name, said.bug)
    assert said.code in (1, 2), (words, name, said)
    assert "Traceback" not in said.text
    assert Path(name).name in said.text, (words, name, said.text)
    assert len(said.text.splitlines()) < 10, said.text


FEW = {
    "study.yaml": "status tiny",
    "study.db": "status tiny",
    "finalists/chosen.json": "best tiny",
    "best/model.safetensors": "predict tiny picture.png",
}


@pytest.mark.parametrize("name", FEW)
def test_a_file_that_may_not_be_read_is_named(searched: Path, place: Path, name: str):
    work = copy(searched, place)
    (work / STUDY / name).chmod(0)
    check(as_nobody(work, FEW[name]), name, FEW[name])


@pytest.mark.parametrize("name", ["runs", "runs/tiny", "runs/tiny/best"])
def test_a_folder_that_may_not_be_entered_is_named(searched: Path, place: Path, name: str):
    work = copy(searched, place)
    (work / name).chmod(0)
    for words in ("status tiny", "predict tiny picture.png", "search tiny --inline"):
        if name == "runs/tiny/best" and words.startswith("status"):
            continue
        check(as_nobody(work, words), name, words)
    (work / name).chmod(0o755)


@pytest.mark.slow
def test_a_study_that_may_not_be_written_is_read_and_not_driven(searched: Path, place: Path):
    work = copy(searched, place)
    for path in (work / STUDY, *(work / STUDY).rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for words in ("status tiny", "best tiny", "trials tiny", "verify tiny --no-replay"):
        said = as_nobody(work, words)
        assert (said.code, said.bug) == (0, None), (words, said)
    for words in ("search tiny --trials 9 --inline", "retrain tiny --inline", "clean tiny --yes",
                  "ensemble tiny --inline", "enqueue tiny recipe.yaml"):  # fmt: skip
        check(as_nobody(work, words), "tiny", words)


@pytest.mark.slow
def test_data_and_caches_that_may_not_be_read_are_named(place: Path):
    np.savez(place / "data.npz", train_images=np.zeros((40, 8, 8), np.uint8),
             train_labels=np.arange(40) % 2)  # fmt: skip
    (place / "data.npz").chmod(0)
    (place / "images/a").mkdir(parents=True)
    (place / "images/a").chmod(0)
    (place / "recipe.yaml").write_text("{}")
    (place / "recipe.yaml").chmod(0)
    for words, name in (
        ("inspect npz:data.npz", "data.npz"),
        ("inspect folder:images", "images"),
        ("train recipe.yaml", "recipe.yaml"),
        ("search recipe.yaml", "recipe.yaml"),
    ):
        check(as_nobody(place, words), name, words)
    (place / "images/a").chmod(0o755)


@pytest.mark.slow
def test_every_file_that_a_command_may_not_read_is_named(whole: Path, place: Path):
    opened, cases, refused = Opened(), 0, 0
    for words in COMMANDS:
        work = copy(whole, place)
        with opened.below(work / STUDY) as found:
            run(work, words)
        shutil.rmtree(work)
        for name in one_of_each({name for name in found if (whole / STUDY / name).is_file()}):
            work = copy(whole, place)
            (work / STUDY / name).chmod(0)
            said = as_nobody(work, words)
            cases, refused = cases + 1, refused + (said.code != 0)
            assert said.bug is None, (words, name, said.bug)
            if said.code and not words.startswith("verify"):
                check(said, name, words)
            shutil.rmtree(work)
    print(f"rights: {cases} files that may not be read, {refused} refused, the rest not needed")
