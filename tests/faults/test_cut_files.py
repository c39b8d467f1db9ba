"""Every file of a study cut short: the study goes on, or says which file it is and what to do."""

import contextlib
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from autosd.search import curve
from autosd.search.curve import Curve
from autosd.training.checkpoint import CheckpointUnreadable, load_checkpoint, save_checkpoint

from .failing_disk import Disk, Ended, Fault
from .invariants import Witness
from .tiny_study import EPOCHS, TRIALS, outcome, search

KILLED = 0
READERS = ("status", "best", "trials")
OWN = (".lock", "study.log", "study.db-shm")
"""Files that no command depends on."""
SETTLED = ("study.db", "study.db-wal", "chosen.json")
"""Files that going on writes before it comes to a damaged one: nothing in them is lost by it."""


@dataclass
class Bench:
    """A study in some state, to be cut in every place.

    Attributes:
        disk: runs the commands.
        study: its folder.
        words: the search.
        outcome: what an uncut search comes to.
        state: a copy of the folder as it was left.
        done: how often a cut study went on or was refused.
        wrong: everything that was not as it has to be.
    """

    disk: Disk
    study: Path
    words: list[str]
    outcome: dict[str, Any]
    state: Path
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def keep(self) -> None:
        """Take the folder as it is for the state."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.study, self.state)

    def restore(self) -> None:
        """Put the state back."""
        shutil.rmtree(self.study, ignore_errors=True)
        shutil.copytree(self.state, self.study)

    def cut(self, name: str, length: int) -> None:
        """Cut a file, look at the study, go on with it."""
        self.restore()
        with (self.study / name).open("r+b") as file:
            file.truncate(length)
        short, before = (self.study / name).read_bytes(), digests(self.study)
        where = f"{name} cut to {length} of {(self.state / name).stat().st_size} bytes"
        for reader in READERS:
            said = self._run(reader)
            if said.code not in (0, 2) or "Traceback" in said.err:
                self.wrong.append(f"{where}: {reader} ended with {said.code}: {said.err}")
        ended = self.disk.run(self.words, self.study)
        self.done["went on" if ended.code == 0 else "refused"] += 1
        if ended.code == 0:
            self._went_on(where, name, short)
        elif ended.code != 2 or Path(name).name.split("-")[0] not in ended.err:
            self.wrong.append(f"{where}: ended with {ended.code}: {ended.err}")
        elif digests(self.study) != before:
            changed = dict(before.items() ^ digests(self.study).items())
            self.wrong.append(f"{where}: refused, and yet changed {sorted(changed)}")
        else:
            self._put_back(where, name)

    def _run(self, command: str) -> Ended:
        words = [command, self.study.name, "--dir", str(self.study.parent)]
        return self.disk.run(words + ["--no-replay"] * (command == "verify"), self.study)

    def _went_on(self, where: str, name: str, short: bytes) -> None:
        """Everything is as without the cut; what was not written again is named by `verify`."""
        witness, path = Witness(self.study, EPOCHS), self.study / name
        trials = witness.end(TRIALS)
        material = not _same(path, short, (self.state / name).read_bytes())
        still = material and path.exists() and path.read_bytes() == short
        self.done["still cut"] += still
        checked = self._run("verify")
        named = checked.code == 1 and path.name in checked.out
        fine = named if still else checked.code == 0 or (named and name == "study.db")
        if not fine:
            self.wrong.append(f"{where}: verify ended with {checked.code}: {checked.out}")
        if witness.faults and not (still and path.name == "history.jsonl"):
            self.wrong.append(f"{where}: {vars(witness.faults)}")
        if len(trials) < TRIALS or outcome(self.study) != self.outcome:
            self.wrong.append(f"{where}: the end is another one")

    def _put_back(self, where: str, name: str) -> None:
        """The way out of every refusal."""
        if name.startswith("study.db"):
            self.restore()
        shutil.copyfile(self.state / name, self.study / name)
        if self.disk.run(self.words, self.study).code != 0:
            self.wrong.append(f"{where}: does not go on after it was put back")
        elif outcome(self.study) != self.outcome:
            self.wrong.append(f"{where}: put back, the end is another one")


def _same(path: Path, short: bytes, whole: bytes) -> bool:
    """Whether what was cut off says nothing: the end of a line, or of a number in YAML."""
    if path.suffix != ".yaml":
        return short.rstrip(b"\n") == whole.rstrip(b"\n")
    with contextlib.suppress(yaml.YAMLError):
        return bool(yaml.safe_load(short) == yaml.safe_load(whole))
    return False


def digests(study: Path) -> dict[str, str]:
    """What a refusal may not change."""
    return {
        str(path.relative_to(study)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in study.rglob("*")
        if path.is_file() and path.name not in (*OWN, *SETTLED)
    }


def places(path: Path) -> list[int]:
    """Where to cut: the last bytes, the last record, halves, nothing left."""
    content = path.read_bytes()
    size = len(content)
    record = content.rstrip(b"\n").rfind(b"\n") + 1 if path.suffix == ".jsonl" else 0
    found = {size - 1, size - 2, (record + size) // 2, record + 1, record, size // 2, 1, 0}
    if path.name.startswith("study.db"):
        found |= {size - 4096, size - 2048, size - 4096 - 12, size - 4096 - 24, 4096, 32, 100}
    return sorted(length for length in found if 0 <= length < size)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    scratch = tmp_path_factory.mktemp("cut")
    study, words = search(scratch)
    with Disk(scratch) as disk:
        clean = disk.run(words, study, warm=True)
        assert clean.code == 0, clean.err
        bench = Bench(disk, study, words, outcome(study), scratch / "state")
        bench.calls = clean.calls  # type: ignore[attr-defined]
        yield bench


def killed_at(bench: Bench, wanted: str, occurrence: int) -> None:
    """Leave the study as a kill at a call leaves it."""
    calls: tuple[str, ...] = bench.calls  # type: ignore[attr-defined]
    found = [number for number, call in enumerate(calls, start=1) if call == wanted]
    shutil.rmtree(bench.study)
    assert bench.disk.run(bench.words, bench.study, Fault(found[occurrence], KILLED)).code == -9


def _kept(name: str) -> bool:
    """Neither of no importance nor what a kill has left half written."""
    return name not in OWN and not name.startswith(".")


@pytest.mark.slow
@pytest.mark.parametrize("state", ["in its second trial", "in its finalists", "complete"])
def test_every_file_cut_short_goes_on_or_is_named(bench: Bench, state: str, capsys):
    if state == "in its second trial":
        killed_at(bench, "rename /trials/0001/last.pt", 1)
    elif state == "in its finalists":
        killed_at(bench, "unlink /finalists/cross_entropy-1000/last.pt", 0)
    else:
        assert bench.disk.run(bench.words, bench.study).code == 0
    bench.keep()
    bench.done.clear()
    bench.wrong.clear()
    names = [path.relative_to(bench.state) for path in sorted(bench.state.rglob("*"))]
    names = [name for name in names if (bench.state / name).is_file() and _kept(name.name)]
    for name in names:
        for length in places(bench.state / name):
            bench.cut(str(name), length)
    with capsys.disabled():
        print(
            f"\n{state}: {len(names)} files, {bench.done.total()} cuts: {dict(bench.done)}; "
            f"{len(bench.wrong)} not as they have to be"
        )
    assert not bench.wrong, "\n".join(bench.wrong)


def test_a_curve_cut_at_every_byte_of_its_last_record_loses_that_record_alone(tmp_path: Path):
    """The end of its line alone is no loss."""
    path = tmp_path / "history.jsonl"
    epochs = [{"epoch": epoch, "loss": 1 / epoch, "evaluated": {"val": {}}} for epoch in (1, 2, 3)]
    Curve(path).add(epochs)
    whole = path.read_bytes()
    for length in range(whole[:-1].rindex(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:length])
        kept = 3 if length == len(whole) - 1 else 2
        assert curve.read(path) == epochs[:kept]
        Curve(path)
        assert curve.read(path) == epochs[:kept]
        assert path.read_bytes().endswith(b"\n")
        Curve(path).add(epochs)
        assert path.read_bytes() == whole


def test_a_checkpoint_cut_anywhere_is_refused_before_it_is_read(tmp_path: Path):
    path, identity = tmp_path / "last.pt", {"recipe": "r", "data": "d", "train_on": ["train"]}
    save_checkpoint(path, identity, {"weights": torch.ones(20)})
    whole = path.read_bytes()
    for length in (*range(0, len(whole) - 64, 97), *range(len(whole) - 64, len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointUnreadable, match=r"last.pt: .* Remove the file to train"):
            load_checkpoint(path, identity)
        assert path.read_bytes() == whole[:length]
