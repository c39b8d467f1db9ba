"""A garbled file is named with the way out, and whatever else there is stays as it was."""

import contextlib
import logging
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.logging import LogCaptureHandler

from .garbling import (
    COMMANDS,
    CONTENTS,
    PLACES,
    STUDY,
    WAYS,
    Opened,
    garble,
    one_of_each,
    remove,
    run,
    snapshot,
)

NOTICED = set(CONTENTS) - {"flipped bits", "not UTF-8"}
"""What `verify` sees: an archive opens with bytes before it, what is gone may have been cleaned."""
WAY_OUT = re.compile(
    r"put |remove|move |anew|again|copy|check (the|its) |--name|--data|choose another"
)
CHANGED = "exists with another definition"
"""What a value is told that reads as another one that is allowed."""
OF_USERS = ("train", "inspect")
"""Commands of files that people write: what is wrong with them is the way out."""
OF_THE_DRIVER = {f"{STUDY}/study.log", f"{STUDY}/.lock"}
"""What a driver writes before it looks at anything else."""
DERIVED = re.compile(
    r"best/|ensemble/|compare/compare\.|retrain/results\.json|report\.html|queue/|study\.log|"
    r"\.lock|finalists/chosen\.json"
)
"""What a command makes of records that are whole, and may make again."""
UNVERIFIED = re.compile(
    r"space\.yaml|storage\.json|study\.log|\.lock|report\.html|queue/|compare/|environment\.json"
)


@dataclass
class Matrix:
    """One command against files that are garbled one after the other."""

    whole: Path
    work: Path
    command: str
    cases: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    before: dict[str, object] = field(default_factory=dict)

    def start(self) -> None:
        """A whole copy to work with."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.whole, self.work)

    def files(self, opened: Opened) -> list[str]:
        """One of each kind of file of the study that the command reads."""
        self.start()
        with opened.below(self.work / STUDY) as found:
            said = run(self.work, self.command)
        assert said.code == 0, said
        there = {name for name in found if (self.whole / STUDY / name).is_file()}
        return one_of_each(there)

    def try_all(self, files: list[str], ways: tuple[str, ...]) -> None:
        """Every file in every way."""
        self.start()
        before = self.before = snapshot(self.work)
        for name in files:
            for how in ways:
                garble(self.work / STUDY / name, how, self.whole / STUDY)
                after = self._try(name, how)
                for path in after.keys() | before.keys():
                    if after.get(path) != before.get(path) or path.endswith(name):
                        self._restore(path)

    def _try(self, name: str, how: str) -> dict[str, object]:
        garbled = snapshot(self.work)
        if garbled == self.before:
            return garbled
        said = run(self.work, self.command)
        after = snapshot(self.work)
        changed = {
            path.removeprefix(f"{STUDY}/")
            for path in garbled.keys() | after.keys()
            if garbled.get(path) != after.get(path) and path not in OF_THE_DRIVER
        }
        refused = said.code != 0
        self.cases["refused" if refused else "went on"] += 1
        if said.bug is not None or said.code not in (0, 1, 2) or "Traceback" in said.text:
            self._wrong(name, how, f"ends with {said.code} {said.bug!r}")
        elif refused:
            self._check_refusal(name, how, said.errors or said.text, changed)
        elif name in changed and how not in PLACES and not DERIVED.match(name):
            self._wrong(name, how, "was overwritten")
        elif self.command.startswith("verify") and self._must_notice(name, how):
            self._wrong(name, how, "is whole to verify")
        return after

    def _must_notice(self, name: str, how: str) -> bool:
        return how in NOTICED and not UNVERIFIED.search(name)

    def _check_refusal(self, name: str, how: str, errors: str, changed: set[str]) -> None:
        parts = name.split("/")
        if not any(
            part in errors for part in (name, parts[-1], "/".join(parts[:-1]) or name, CHANGED)
        ):
            self._wrong(name, how, f"is not named: {errors:.200}")
        if not WAY_OUT.search(errors) and not self.command.startswith(OF_USERS):
            self._wrong(name, how, f"no way out: {errors:.200}")
        if changed - {"report.html"}:
            self._wrong(name, how, f"refused, and yet changed {sorted(changed)[:3]}")

    def _wrong(self, name: str, how: str, what: str) -> None:
        self.wrong.append(f"{self.command} | {name} | {how} | {what}")
        print(self.wrong[-1])

    def _restore(self, path: str) -> None:
        remove(self.work / path)
        source = self.whole / path
        if source.is_dir():
            shutil.copytree(source, self.work / path, dirs_exist_ok=True)
        elif source.exists():
            (self.work / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, self.work / path)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self.cases.items()))
        return (
            f"garbled files, {self.command}: {self.cases.total()} cases, {counts}, "
            f"{len(self.wrong)} wrong"
        )


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


FEW = {
    "status tiny": (["study.yaml", "study.db", "finalists/chosen.json", "best/metrics.json"], 12),
    "best tiny": (["space.yaml", "storage.json", "finalists/cross_entropy-1000/result.json"], 9),
    "autosd.load best": (["best/model.json", "best/model.safetensors"], 6),
}
"""Command -> files, and how many of the cases are refused: a `best/` in pieces counts as none."""


@pytest.mark.parametrize("command", FEW)
def test_a_garbled_file_is_named_with_the_way_out(searched: Path, tmp_path: Path, command: str):
    matrix = Matrix(searched, tmp_path / "work", command)
    files, refused = FEW[command]
    matrix.try_all(files, ("noise", "a list", "a folder"))
    print(matrix)
    assert matrix.wrong == []
    assert matrix.cases["refused"] == refused


@contextlib.contextmanager
def forgetful() -> Iterator[None]:
    """Let pytest keep no log records: their tracebacks hold the data of a thousand runs."""
    root = logging.getLogger()
    keeping = [one for one in root.handlers if isinstance(one, LogCaptureHandler)]
    for handler in keeping:
        root.removeHandler(handler)
    try:
        yield
    finally:
        for handler in keeping:
            root.addHandler(handler)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_that_a_command_reads_is_named_where_it_is_garbled(
    whole: Path, opened: Opened, tmp_path: Path, command: str
):
    matrix = Matrix(whole, tmp_path / "work", command)
    with forgetful():
        matrix.try_all(matrix.files(opened), WAYS)
    print(matrix)
    assert matrix.wrong == []
