"""What a user may not read or write is named in one line."""

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .garbling import COMMANDS, STUDY, Opened, Said, one_of_each, run

VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words of 32 bits for each set
PR_GET_SECUREBITS, PR_SET_SECUREBITS = 27, 28
NO_SETUID_FIXUP = 1 << 2  # access(2) goes by the effective set, as open(2) does
PAST_RIGHTS = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class Header(ctypes.Structure):
    """Whose capabilities are meant; 0 is the calling thread (capset(2))."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Sets(ctypes.Structure):
    """One word of each of the three sets of capabilities."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Let the rights of files bind root too inside the block.

    Root loses the two capabilities that look past them, and stays the owner of Python and of the
    code. Where the tests run as another user nothing changes. A program that is executed inside
    has all rights again.
    """
    if os.getuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, before, bound = Header(VERSION, 0), (Sets * 2)(), (Sets * 2)()

    def call(name: str, *words: object) -> int:
        result: int = getattr(libc, name)(*words)
        assert result >= 0, (name, os.strerror(ctypes.get_errno()))
        return result

    for sets in (before, bound):
        call("capget", ctypes.byref(header), sets)
    if not before[0].effective & PAST_RIGHTS:
        yield
        return
    bound[0].effective &= ~PAST_RIGHTS
    bits = call("prctl", PR_GET_SECUREBITS)
    call("prctl", PR_SET_SECUREBITS, bits | NO_SETUID_FIXUP)
    call("capset", ctypes.byref(header), bound)
    try:
        yield
    finally:
        call("capset", ctypes.byref(header), before)
        call("prctl", PR_SET_SECUREBITS, bits)


def bound_by_rights(folder: Path, words: str) -> Said:
    """Run a command as a user without rights."""
    with without_rights():
        return run(folder, words)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "cache"))
    return tmp_path


def copy(source: Path, place: Path) -> Path:
    """A copy whose rights a test may take away."""
    return Path(shutil.copytree(source, place / "work"))


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
    check(bound_by_rights(work, FEW[name]), name, FEW[name])


@pytest.mark.parametrize("name", ["runs", "runs/tiny", "runs/tiny/best"])
def test_a_folder_that_may_not_be_entered_is_named(searched: Path, place: Path, name: str):
    work = copy(searched, place)
    (work / name).chmod(0)
    for words in ("status tiny", "predict tiny picture.png", "search tiny --inline"):
        if name == "runs/tiny/best" and words.startswith("status"):
            continue
        check(bound_by_rights(work, words), name, words)
    (work / name).chmod(0o755)


@pytest.mark.slow
def test_a_study_that_may_not_be_written_is_read_and_not_driven(searched: Path, place: Path):
    work = copy(searched, place)
    for path in (work / STUDY, *(work / STUDY).rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for words in ("status tiny", "best tiny", "trials tiny", "verify tiny --no-replay"):
        said = bound_by_rights(work, words)
        assert (said.code, said.bug) == (0, None), (words, said)
    for words in ("search tiny --trials 9 --inline", "retrain tiny --inline", "clean tiny --yes",
                  "ensemble tiny --inline", "enqueue tiny recipe.yaml"):  # fmt: skip
        check(bound_by_rights(work, words), "tiny", words)


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
        check(bound_by_rights(place, words), name, words)
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
            said = bound_by_rights(work, words)
            cases, refused = cases + 1, refused + (said.code != 0)
            assert said.bug is None, (words, name, said.bug)
            if said.code and not words.startswith("verify"):
                check(said, name, words)
            shutil.rmtree(work)
    print(f"rights: {cases} files that may not be read, {refused} refused, the rest not needed")
