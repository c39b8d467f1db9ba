"""Which epochs were really trained: by `study.log`, by the checkpoints, and by the student."""

import io
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import torch

BEGINS = re.compile(r": (\S+/\S+)(?: \(trial \d+\))? begins")
EPOCH = re.compile(r": (\S+/\S+): epoch (\d+),")
DIGEST = 32
"""Bytes of the checksum behind a checkpoint."""


def attempts(study: Path) -> dict[str, list[list[int]]]:
    """Run -> its attempts in order -> the epochs that each of them reported."""
    found: dict[str, list[list[int]]] = defaultdict(list)
    log = study / "study.log"
    for line in log.read_text().splitlines() if log.exists() else ():
        if match := BEGINS.search(line):
            found[match[1]].append([])
        elif match := EPOCH.search(line):
            found[match[1]][-1].append(int(match[2]))
    return found


def held(path: Path) -> int:
    """Epochs in a checkpoint."""
    content = io.BytesIO(path.read_bytes()[:-DIGEST])
    return len(torch.load(content, weights_only=True)["history"])


@dataclass
class Epochs:
    """Follows the runs of a study over its faults, and finds epochs that were trained again.

    Attributes:
        study: its folder.
        epochs: of a run that is complete.
        faults: runs that did not go on from their last epoch.
        known: run -> attempts that have been looked at.
        held: run -> epochs in its checkpoint at the last look.
        slack: 1 where an orphan may have finished its epoch after the last look.
    """

    study: Path
    epochs: int
    faults: list[str] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    slack: int = 0

    def look(self, calm: bool = True) -> None:
        """Check what was trained since the last look; `calm`: no worker is alive."""
        for key, found in attempts(self.study).items():
            done, slack = self.held.get(key, 0), self.slack
            for reported in found[self.known.get(key, 0) :]:
                self._check(key, reported, done, slack)
                if reported:  # the next one may find one more that was saved and not reported
                    done, slack = reported[-1], 1
            self.known[key] = len(found)
            self.held[key] = sum(held(path) for path in self.study.rglob(f"{key}/last.pt"))
        self.slack = 0 if calm else 1

    def _check(self, key: str, reported: list[int], done: int, slack: int) -> None:
        if not reported:
            return
        first = range(done + 1, done + slack + 2)
        whole = reported == list(range(reported[0], reported[-1] + 1))
        if not whole or min(reported[0], self.epochs) not in {
            min(one, self.epochs) for one in first
        }:
            self.faults.append(f"{key}: after {done} epochs came {reported}")


def given_up(study: Path, notes: Path) -> float:
    """Epochs' worth of training that no record has, from the student's own notes."""
    trained = sum(int(line) for line in notes.read_text().splitlines())
    images, epochs = 0, 0
    for path in study.glob("*/*/history.jsonl"):
        for line in path.read_text().splitlines():
            images, epochs = images + json.loads(line)["work"]["images"], epochs + 1
    return (trained - images) * epochs / images if images else 0.0
