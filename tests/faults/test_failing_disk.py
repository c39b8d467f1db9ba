"""Every call that changes a study's folder fails once, in each way; the same command goes on.

The calls are those of a whole `autosd search`: definition, database, checkpoints, results, logits,
finalists, `best/`, log and lock. They are enumerated by a clean run and failed one after the other.
"""

import errno
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .failing_disk import Disk, Ended, Fault
from .invariants import Witness
from .tiny_study import EPOCHS, TRIALS, outcome, search

FULL, HALF, ONCE, BROKEN = WAYS = (
    {"error": errno.ENOSPC, "stays": True},
    {"error": errno.ENOSPC, "half": True},
    {"error": errno.ENOSPC},
    {"error": errno.EIO},
)
RESUMABLE = 75


@dataclass
class Campaign:
    """A study that is begun on a failing disk and ended on a sound one, again and again.

    Attributes:
        disk: where it lies.
        study: its folder.
        words: the command.
        calls: of a clean run.
        outcome: what a clean run came to.
        ends: how often the command on the failing disk ended with which code.
        wrong: everything that was not as it has to be.
    """

    disk: Disk
    study: Path
    words: list[str]
    calls: tuple[str, ...] = ()
    outcome: dict[str, Any] = field(default_factory=dict)
    ends: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)

    def enumerate(self) -> None:
        """Run on a sound disk, twice: the first time imports and caches are warmed up."""
        for warm in (True, False):
            shutil.rmtree(self.study, ignore_errors=True)
            ended = self.disk.run(self.words, self.study, warm=warm)
            assert ended.code == 0, ended.err
        self.calls, self.outcome = ended.calls, outcome(self.study)

    def inject(self, fault: Fault) -> None:
        """One fault, what it left, and the same command on a sound disk."""
        shutil.rmtree(self.study, ignore_errors=True)
        where = f"{fault} ({self.calls[fault.first - 1]})"
        ended = self.disk.run(self.words, self.study, fault)
        self.ends[ended.code] += 1
        found = list(self._ended(fault, ended))
        witness = Witness(self.study, EPOCHS)
        self.witnesses.append(witness)
        witness.look()
        again = self.disk.run(self.words, self.study)
        if again.code:
            found.append(f"the same command ended with {again.code}: {again.err}")
        else:
            witness.end(TRIALS)
            now = outcome(self.study)
            found += [f"{key} is {now[key]}" for key in now if now[key] != self.outcome[key]]
        found += [f"{kind}: {one}" for kind, ones in vars(witness.faults).items() for one in ones]
        self.wrong += [f"{where}: {one}" for one in found]

    def _ended(self, fault: Fault, ended: Ended) -> Iterator[str]:
        if not ended.injected:
            yield "was not injected"
        said = [line for line in ended.err.splitlines() if line.startswith("error: ")]
        if ended.code not in (0, RESUMABLE):
            yield f"ended with {ended.code}: {ended.err}"
        if "Traceback" in ended.err or "Exception ignored" in ended.err:
            yield f"said {ended.err}"
        if ended.code == RESUMABLE and (len(said) != 1 or "run the same command" not in said[0]):
            yield f"did not say in one line how to go on: {said}"
        if fault.error == errno.ENOSPC and leftovers(self.study):
            yield f"left {leftovers(self.study)}"

    def summary(self) -> str:
        """What the closing note quotes."""
        faults = Counter(
            {
                kind: sum(len(vars(one.faults)[kind]) for one in self.witnesses)
                for kind in ("lost", "doubled", "changed", "wrong")
            }
        )
        survived, resumable = self.ends[0], self.ends[RESUMABLE]
        return (
            f"{len(self.calls)} calls enumerated, {self.ends.total()} faults injected "
            f"({survived} survived, {resumable} ended resumable): "
            + ", ".join(f"{faults[kind]} {kind}" for kind in faults)
            + f"; {len(self.wrong)} not as they have to be"
        )


def leftovers(study: Path) -> list[str]:
    """Files and folders that were to be renamed."""
    return [path.name for path in study.rglob(".*.????????") if path.name != ".lock"]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """Warmed up; the study has been run once."""
    scratch = tmp_path_factory.mktemp("disk")
    study, words = search(scratch)
    with Disk(scratch) as disk:
        campaign = Campaign(disk, study, words)
        campaign.enumerate()
        yield campaign


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(len(WAYS)))
def test_every_call_that_fails_once_loses_doubles_and_changes_nothing(campaign, turn, capsys):
    """A turn fails every call in one way; the four turns together every call in every way."""
    for record in (campaign.ends, campaign.witnesses, campaign.wrong):
        record.clear()
    for number in range(1, len(campaign.calls) + 1):
        way = WAYS[(number + turn) % len(WAYS)]
        if campaign.calls[number - 1].startswith("unlink") and way in (HALF, ONCE):
            way = BROKEN  # a full disk does not keep a file from going
        campaign.inject(Fault(number, **way))
    with capsys.disabled():
        print(f"\nturn {turn}: {campaign.summary()}")
    assert not campaign.wrong, "\n".join(campaign.wrong)


def test_a_formula_s_study_goes_on_after_calls_that_failed(tmp_path: Path):
    study, words = tmp_path / "runs/s", [str(tmp_path / "runs"), "--trials", "3"]
    study.parent.mkdir()
    with Disk(tmp_path, "drive") as disk:
        calls = disk.run(words, study).calls
        last = [number for number, call in enumerate(calls, start=1) if "last.pt" in call]
        curve = [number for number, call in enumerate(calls, start=1) if "history" in call]
        for number, way in ((len(calls) // 2, FULL), (last[6], HALF), (curve[9], BROKEN)):
            shutil.rmtree(study)
            ended = disk.run(words, study, Fault(number, **way))
            assert ended.injected
            assert ended.code, ended.err
            witness = Witness(study, epochs=8)
            witness.look()
            assert disk.run(words, study).code == 0
            witness.end(3)
            assert not witness.faults, vars(witness.faults)
