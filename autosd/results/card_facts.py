"""What a card says of the data and of the recipe's score; `metrics.json` has it as plain values."""

from pathlib import Path
from typing import Any

from autosd import stored
from autosd.results.numbers import metric, score
from autosd.results.outcome import Winner
from autosd.search.lists import TRAIN_AGAIN
from autosd.search.study import StudyFolder
from autosd.stored import WAY_OUT

DECIMALS = 6
PARTS = {
    "train": "gradients",
    "val": "guided the search",
    "select": "confirmed its winner",
    "test": "read for results alone",
}


def data_lines(folder: StudyFolder, description: Path) -> list[str]:
    """The data set, its classes and parts.

    Args:
        folder: of the study.
        description: `model.json` of a student.
    """
    with stored.sound(description, TRAIN_AGAIN):
        told = stored.load(description)
        channels, height, width = told["image_shape"]
        classes = int(told["classes"])
    split = folder.path / "split.json"
    with stored.sound(split, WAY_OUT):
        kept = stored.load(split)
        fingerprint = kept["fingerprint"]
        parts = ", ".join(
            f"{part} {count:,} ({PARTS[part]})" if part in PARTS else f"{part} {count:,}"
            for part, count in kept["counts"].items()
        )
    return [
        f"`{folder.definition.recipe.data.name}`: {classes} classes, images of {height} x "
        f"{width} pixels with {channels} channel{'' if channels == 1 else 's'}. Parts of the "
        f"study: {parts}; fingerprint `{fingerprint}`.",
    ]


def score_lines(won: Winner) -> list[str]:
    """The one number that every command shows for the winner, and what the search had measured."""
    if not won.confirmed:
        value = metric(won.score.value, won.score.objective, won.score.images)
        return [
            f"{value} on {won.score.part} in one run of the search: the best of many, too good."
        ]
    lines = [f"Confirmed: {score(won.score)} on `{won.score.part}`, which the search never saw."]
    if won.search_value is not None:
        value = metric(won.search_value, won.score.objective)
        lines.append(
            f"In the search: {value} on `val`, one run chosen among many: such a value is too good."
        )
    return lines


def score_facts(won: Winner) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "part": won.score.part,
        "objective": won.score.objective,
        "mean": round(won.score.value, DECIMALS),
        "sd": None if won.score.sd is None else round(won.score.sd, DECIMALS),
        "n": won.score.n,
        "confirmed": won.confirmed,
        "search": won.search_value,
    }
