"""The table of `autosd retrain` as `retrain/results.json` keeps it; read without torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from autosd import stored
from autosd.results.statistics import Difference, Summary
from autosd.search.study import StudyFolder

FILE = "results.json"
ROLES = ("winner", "finalist", "default", "control", "tuned", "baseline")
CALIBRATION = ("ece", "ece_equal_mass", "nll", "brier")


@dataclass(frozen=True)
class Row:
    """One recipe of the table. Scores are fractions, losses nats; means are over its runs.

    Attributes:
        recipe: its label.
        roles: why it is in the table, of `ROLES` in that order: two that train the same are one.
        family: of the space.
        strategies: of the recipe.
        n: runs with a result.
        planned: runs that should be there.
        diverged, failed: runs without a result; failed ones are tried again by the same command.
        metrics: metric -> mean and spread on test, of all that `measure` gives.
        difference: of the objective to cross-entropy, seed by seed; None for itself and without a
            common seed.
        verdict: better, worse or no difference shown; `reference`; `diverged` or `incomplete`
            where runs are missing, since those that are left say nothing fair.
        p_holm, verdict_holm: the same after Holm's adjustment for all comparisons of the table.
        declared: `forwards`, `backwards` and `step` for one fresh image, cross-entropy's step as 1.
        seconds: of a run, mean over runs.
        temperature: of the logits, fitted on `select` in the confirmation runs of this recipe: mean
            and spread over these runs; None where it was not confirmed.
        scaled: metric of `CALIBRATION` -> mean and spread on test with the logits divided by that
            temperature; empty without one.
        search: value in the search, on val; None where it had no trial.
        confirmed: mean and spread on select; None where it was not confirmed.
    """

    recipe: str
    roles: tuple[str, ...]
    family: str
    strategies: tuple[str, ...]
    n: int
    planned: int
    diverged: int
    failed: int
    metrics: dict[str, Summary]
    difference: Difference | None
    verdict: str
    p_holm: float | None
    verdict_holm: str
    declared: dict[str, float] | None
    seconds: float | None
    temperature: Summary | None
    scaled: dict[str, Summary]
    search: float | None
    confirmed: Summary | None

    @property
    def role(self) -> str:
        """The first of its roles."""
        return self.roles[0]

    def mapping(self) -> dict[str, Any]:
        """Plain values: a row of `autosd retrain --json`."""
        return {
            "recipe": self.recipe,
            "role": self.role,
            "roles": list(self.roles),
            "family": self.family,
            "strategies": list(self.strategies),
            "n": self.n,
            "planned": self.planned,
            "diverged": self.diverged,
            "failed": self.failed,
            "metrics": _spreads(self.metrics),
            "difference": None if self.difference is None else asdict(self.difference),
            "verdict": self.verdict,
            "p_holm": self.p_holm,
            "verdict_holm": self.verdict_holm,
            "declared": self.declared,
            "seconds": self.seconds,
            "temperature": _spread(self.temperature),
            "scaled": _spreads(self.scaled),
            "search": self.search,
            "confirmed": _spread(self.confirmed),
        }


@dataclass(frozen=True)
class Retrained:
    """The table of the last `autosd retrain` of a study.

    Attributes:
        study: its name.
        model, data: what was trained on what.
        metric: the study's objective: what differences, search and confirmed scores are of.
        epochs: of the runs.
        seeds: paired.
        trained_on: parts of the data that gave gradients.
        images: of the test part.
        rows: the winner first, then the other recipes, cross-entropy last unless it won.
        claims: of the winner against cross-entropy, the best control, and cross-entropy with the
            winner's settings of training, a sentence each; none where its runs diverged or miss.
        remarks: other sentences that belong to the table.
    """

    study: str
    model: str
    data: str
    metric: str
    epochs: int
    seeds: tuple[int, ...]
    trained_on: tuple[str, ...]
    images: int
    rows: tuple[Row, ...]
    claims: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def winner(self) -> Row:
        """The recipe that the confirmation (without one, the search) had put first."""
        return self.rows[0]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is to be read beside the table."""
        return (*self.claims, *self.remarks)

    @property
    def baseline(self) -> Row:
        """Cross-entropy."""
        return next(row for row in self.rows if "baseline" in row.roles)

    def mapping(self) -> dict[str, Any]:
        """Plain values: what `retrain/results.json` holds."""
        return {
            "study": self.study,
            "model": self.model,
            "data": self.data,
            "metric": self.metric,
            "epochs": self.epochs,
            "seeds": list(self.seeds),
            "trained_on": list(self.trained_on),
            "images": self.images,
            "rows": [row.mapping() for row in self.rows],
            "claims": list(self.claims),
            "remarks": list(self.remarks),
        }


_RETRAINED = TypeAdapter(Retrained)


def read_retrained(folder: StudyFolder) -> Retrained | None:
    """The table of a study, None before `autosd retrain`.

    Raises:
        AutosdError: the file is broken.
    """
    path = folder.retrain / FILE
    if not path.is_file():
        return None
    with stored.sound(path, f"`autosd retrain {folder.name}` writes it anew"):
        table = _RETRAINED.validate_python(stored.load(path))
        if not any("baseline" in row.roles for row in table.rows):
            raise ValueError("cross-entropy is missing")
    return table


def _spread(one: Summary | None) -> dict[str, Any] | None:
    return None if one is None else asdict(one)


def _spreads(values: Mapping[str, Summary]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in values.items()}
