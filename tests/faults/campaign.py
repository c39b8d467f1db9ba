"""Kills of studies at random moments, the same command again each time, until enough have met."""

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial

from autosd.results.verify import verify
from autosd.search import census
from autosd.search.study import StudyFolder

from .epochs import Epochs, attempts, given_up
from .invariants import Faults, Witness, counting
from .living import HANG, Living, wait_for

STUDENT = Path(__file__).with_name("noting.py")
EPOCHS, TRIALS, SLOTS = 5, 12, 2
STARTING, LATER = 8.0, 3.0
"""Seconds: a kill comes at most so long after its session began, or after its first epoch."""


Strike = Callable[[Living, random.Random], bool]


@dataclass
class Tally:
    """What a campaign came to.

    Attributes:
        what: was killed.
        seed: of the moments.
        met: kills that met a run with an epoch of its own.
        early: kills of a session that had none yet.
        missed: strikes that hit nothing, which are no kills.
        studies, trials, epochs: brought to their end; trials and epochs on record.
        given_up: epochs' worth of training that was done again.
        faults: of all studies.
    """

    what: str
    seed: int
    met: int = 0
    early: int = 0
    missed: int = 0
    studies: int = 0
    trials: int = 0
    given_up: float = 0.0
    faults: Faults = field(default_factory=Faults)
    begin: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.met} kills of a living run and {self.early} of a starting one, "
            f"{self.missed} missed, {self.studies} studies, {self.trials} trials, {self.faults}, "
            f"{self.given_up:.1f} epochs trained again, "
            f"{time.monotonic() - self.begin:.0f} s, seed {self.seed}"
        )


@dataclass
class Campaign:
    """One study after the other, struck until `kills` kills have met a living run.

    Attributes:
        living: where they run.
        strike: kills something of it, and says whether it did; the driver has ended then, or goes
            on.
        tally: what came of it.
        settings: further words of the command.
        stage: runs that have to be under way before a kill: `trials`, `finalists` or any.
        early: share of the kills that come while a session still starts.
    """

    living: Living
    strike: Strike
    tally: Tally
    settings: tuple[str, ...] = ()
    stage: str = ""
    early: float = 0.0

    def run(self, kills: int) -> None:
        """Kill so often; every study is brought to its end and verified."""
        draw = random.Random(self.tally.seed)
        try:
            while self.tally.met < kills:
                self._study(f"study{self.tally.studies}", draw, kills)
        finally:
            print(f"\n{self.tally}")

    def _study(self, name: str, draw: random.Random, kills: int) -> None:
        study, process = self.living.study(name), None
        witness = Witness(study, EPOCHS, self.tally.faults)
        epochs = Epochs(study, EPOCHS, self.tally.faults.changed)
        while self.tally.met < kills:
            process = process or self.living.start(*self.words(name))
            known = self._epochs(study)
            if not self._moment(study, process, draw, known):
                break
            self._strike(draw, met=self._epochs(study) > known)
            witness.look(live=process.poll() is None)
            if process.poll() is not None:
                epochs.look(calm=not self.living.workers())
                process = None
            self._check()
        if process is None or process.wait(HANG) != 0:
            self.living.finish(*self.words(name))
        epochs.look()
        self._end(study, witness)
        self._check()

    def _moment(
        self, study: Path, process: subprocess.Popen[str], draw: random.Random, known: int
    ) -> bool:
        """Wait for the moment of a kill; false where the run ended before it.

        `known`: epochs reported before.
        """
        if draw.random() < self.early:
            time.sleep(draw.uniform(0, STARTING))
        elif not wait_for(lambda: self._epochs(study) > known, process):
            return False
        else:
            time.sleep(draw.uniform(0, LATER))
        return process.poll() is None

    def _strike(self, draw: random.Random, met: bool) -> None:
        """Kill and count; `met`: a run has an epoch of its own."""
        hit = self.strike(self.living, draw)
        self.tally.missed += not hit
        self.tally.met += hit and met
        self.tally.early += hit and not met

    def _check(self) -> None:
        assert not self.tally.faults, f"{vars(self.tally.faults)}\n{self.living.said()}"

    def _epochs(self, study: Path) -> int:
        """Epochs reported so far, of the stage."""
        found = attempts(study).items()
        return sum(len(one) for key, all_ in found for one in all_ if key.startswith(self.stage))

    def words(self, name: str) -> tuple[str, ...]:
        """The command."""
        plan = ["--epochs", EPOCHS, "--trials", TRIALS, "--slots", SLOTS]
        finalists = ["--set", "finalists.count=2", "--set", "finalists.seeds=2"]
        words = ["search", "digits", "--name", name, "--space", "label_smoothing", *plan]
        return tuple(map(str, [*words, "--model", f"{STUDENT}:Noting", *finalists, *self.settings]))

    def _end(self, study: Path, witness: Witness) -> None:
        """The plan is full, all is whole, and an interrupted trial is as an uninterrupted one."""
        tally, notes = self.tally, self.living.root / "notes"
        trials = witness.end(StudyFolder.open(study).definition.trials)
        tally.studies, tally.trials = tally.studies + 1, tally.trials + len(counting(trials))
        tally.given_up += given_up(study, notes)
        notes.unlink()
        if tally.given_up > SLOTS * (tally.met + tally.early + tally.missed):
            tally.faults.wrong.append(f"{tally.given_up} epochs were trained again")
        found = verify(study.name, study.parent, replay=_most_interrupted(trials))
        tally.faults.wrong += map(str, found.faults)
        chosen = json.loads((study / "finalists/chosen.json").read_text())
        if not chosen["confirmed"] or not (study / "best/model.safetensors").is_file():
            tally.faults.wrong.append(f"{study.name} is complete without a winner")


def _most_interrupted(trials: list[FrozenTrial]) -> int | None:
    """The complete trial that took the most attempts."""
    attempts = Counter(census.lineage(t) for t in trials if "duplicate_of" not in t.user_attrs)
    complete = [trial for trial in counting(trials) if trial.state.name == "COMPLETE"]
    newest = max(complete, key=lambda t: attempts[census.lineage(t)], default=None)
    return None if newest is None else newest.number
