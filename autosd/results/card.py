"""The model card: what a student is, how it was found and trained, and what its scores mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autosd import yamlfile
from autosd.recipe import Recipe
from autosd.results.numbers import mean_and_sd, metric, percent
from autosd.results.outcome import Comparison


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        study: name of the study.
        recipe: that trained this student, with its seed.
        label: of the recipe in the study.
        trained_on: parts of the data that gave gradients.
        origin: `confirmation` or `retrain`.
        metrics: part -> metric -> value of this very student.
        table: lines of Markdown that compare the recipes.
        remarks: sentences on what the comparison shows.
        data: sentences on what it learned from and was tested on.
        score: sentences on the recipe's score, confirmed and in the search.
        calibration: sentences on what its probabilities are worth.
        readings: how often test had been read in this study.
    """

    study: str
    recipe: Recipe
    label: str
    trained_on: Sequence[str]
    origin: str
    metrics: Mapping[str, Mapping[str, float]]
    table: Sequence[str]
    remarks: Sequence[str]
    data: Sequence[str] = ()
    score: Sequence[str] = ()
    calibration: Sequence[str] = ()
    readings: int = 0


ORIGINS = {
    "confirmation": (
        "This student comes from the confirmation that ends a search: the winning recipe, trained "
        "once more with a fresh seed, its images of `val` and `select` held back."
    ),
    "retrain": (
        "This student comes from `autosd retrain`: the winning recipe, trained on everything but "
        "the test part, the last epoch kept."
    ),
}
NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "balanced_accuracy": "balanced accuracy",
    "ece": "ECE",
    "ece_equal_mass": "equal-mass ECE",
    "nll": "NLL",
    "brier": "Brier",
}


def text(card: Card) -> str:
    """The card as Markdown."""
    parts = [
        f"# {card.recipe.model.name} on {card.recipe.data.name}",
        f"Found by the study `{card.study}`: recipe `{card.label}` "
        f"({', '.join(spec.name for spec in card.recipe.strategies)}).",
        ORIGINS[card.origin] + f" Trained on: {', '.join(card.trained_on)}.",
        "## Use",
        '```python\nimport autosd\n\nstudent = autosd.load("FOLDER")  # this folder\n'
        "logits = student(student.preprocess(image)[None])\n```",
        "The student is a plain classifier; nothing of the strategies that trained it is left.",
        *_section("Data", card.data),
        *_section("Score of its recipe", card.score),
        "## Scores of this student",
        *_metrics(card.metrics),
        "## How its recipe compares",
        "\n".join(card.table) if card.table else "",
        *card.remarks,
        *_section("Calibration", card.calibration),
        "## Recipe",
        f"Seed {card.recipe.seed}.",
        f"```yaml\n{yamlfile.dumps(card.recipe.mapping())}```",
        "## Limits",
        *_limits(card),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"## {title}", *sentences] if sentences else []


def _limits(card: Card) -> list[str]:
    often = "once" if card.readings == 1 else f"{card.readings} times"
    return [
        f"The test part was read {often} so far in this study, each time for another training run "
        "or command; every reading is on record in its `split.json`. What is chosen by a part that "
        "was read looks better there than it is."
        if card.readings
        else "The test part was not read so far in this study.",
        "The scores hold for images like those it was trained on. Its training data set decides "
        "what the student may be used for; see the licence of the data.",
    ]


def table(compared: Sequence[Comparison], objective: str, images: int | None) -> list[str]:
    """Finalists against cross-entropy as a table in Markdown, in the words of the terminal.

    Args:
        compared: best first.
        objective: top1, nll or balanced_accuracy.
        images: of the part they were scored on, None where it is not known.
    """
    lines = ["| recipe | mean ± sd | seeds | to cross-entropy |", "|---|---|---|---|"]
    for row in compared:
        one = row.finalist
        shown = mean_and_sd(one.mean, one.sd, objective, images)
        lines.append(f"| {one.label} | {shown} | {one.n} | {row.verdict} |")
    return lines


def _metrics(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not metrics:
        return ["None were kept."]
    columns = [name for name in NAMES if name in next(iter(metrics.values()))]
    lines = ["| part | " + " | ".join(NAMES[name] for name in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for part, values in metrics.items():
        cells = [_cell(name, values[name]) for name in columns]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    return ["\n".join(lines)]


def _cell(name: str, value: float) -> str:
    share = name.startswith("top") or name == "balanced_accuracy"
    return percent(value) if share else metric(value, "nll")
