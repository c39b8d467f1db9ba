"""What an ensemble is worth beside its best member: scores, gain with interval, cost, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autosd.data.dataset import Data
from autosd.data.loader import Loader
from autosd.results.ensemble_selection import Floats, Integers, softmax
from autosd.results.ensembled import Gain, Member
from autosd.results.paired_images import accuracy_difference, likelihood_difference
from autosd.results.statistics import verdict
from autosd.results.wording import amount, interval
from autosd.search.study import StudyFolder
from autosd.strategies.costs import survey
from autosd.training.ensemble import load_ensemble
from autosd.training.evaluation import Evaluation, evaluate
from autosd.training.export import load_student

METRICS = ("top1", "nll")
NAMES = {"top1": "top-1", "nll": "NLL"}


@dataclass(frozen=True)
class Pair:
    """The ensemble and its best member on one part."""

    ensemble: Evaluation
    best: Evaluation

    def gains(self, part: str) -> list[Gain]:
        """What the ensemble gains, image by image."""
        rows = [softmax(one.logits) for one in (self.ensemble, self.best)]
        return gains(part, rows[0], rows[1], self.ensemble.labels)


def device_of(folder: StudyFolder) -> str:
    """Where to evaluate: on a GPU if the study uses them and this machine has one."""
    wanted = folder.definition.per_trial.share > 0
    return "cuda" if wanted and torch.cuda.is_available() else "cpu"


class Networks:
    """The two networks, loaded once, evaluated part by part."""

    def __init__(self, ensemble: Path, best: Path, device: str) -> None:
        self.device = device
        self.ensemble: nn.Module = load_ensemble(ensemble, trust_code=True).to(device)
        self.best: nn.Module = load_student(best, trust_code=True).to(device)

    def on(self, data: Data, part: str) -> Pair:
        """Both on a part."""
        loader = Loader(data.part(part), data, device=self.device)
        return Pair(evaluate(self.ensemble, loader.plain()), evaluate(self.best, loader.plain()))


def gains(part: str, ensemble: Floats, best: Floats, labels: Integers) -> list[Gain]:
    """Top-1 and likelihood of probabilities `[N, K]` minus those of the best member's."""
    right = [rows.argmax(axis=1) == labels for rows in (ensemble, best)]
    of_label = [
        rows[np.arange(len(labels)), labels].astype(np.float64) for rows in (ensemble, best)
    ]
    top1 = accuracy_difference(right[0], right[1])
    nll = likelihood_difference(of_label[0], of_label[1])
    return [
        Gain(part, "top1", top1, verdict(top1)),
        Gain(part, "nll", nll, verdict(nll, higher_is_better=False)),
    ]


def relative_cost(members: Sequence[Path], best: Path) -> float:
    """Arithmetic of all members for one image, the best member's as 1."""
    own = survey(load_student(best, trust_code=True)).operations
    counts = [survey(load_student(one, trust_code=True)).operations for one in members]
    return sum(counts) / own


def opening(kind: str, members: Sequence[Member], best: str) -> str:
    """Which kind was chosen, in a sentence."""
    count = len(members)
    if kind == "single":
        return (
            "No ensemble did better on held-out folds of select than the best student alone, "
            f"{best}; ensemble/ holds that one."
        )
    if count == 1 and kind != "soup":
        which = "the best student" if members[0].name == best else "a single student"
        return (
            "Choosing by this kind did best on held-out folds of select; with all of select it "
            f"chooses {which}, {members[0].name}: ensemble/ holds that one and gains nothing."
        )
    ways = {
        "soup": f"The mean of the weights of {members[0].name}'s last epochs",
        "uniform": f"The mean of the best {count} students",
        "greedy": f"A weighted mean of {count} students, chosen greedily,",
    }
    return f"{ways[kind]} did best on held-out folds of select."


def sentence(gain: Gain) -> str:
    """What the gain on a part shows."""
    difference, name = gain.difference, NAMES[gain.metric]
    mean = amount(difference.mean, gain.metric)
    if difference.low is None:
        why = difference.why.replace("one seed", "one image")
        return f"{name} on {gain.part}: no difference to the best member shown: {mean}; {why}."
    facts = f"{mean}, 95 % interval {interval(difference, gain.metric)}, {difference.n:,} images"
    if gain.verdict == "no difference shown":
        return f"{name} on {gain.part}: no difference to the best member shown: {facts}."
    return f"{name} on {gain.part}: {gain.verdict} than the best member: {facts}."
