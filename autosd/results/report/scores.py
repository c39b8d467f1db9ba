"""The scores: families in the search, recipes confirmed with fresh seeds, recipes on test."""

from collections.abc import Iterator, Sequence

from autosd.results.numbers import metric
from autosd.results.report import tables
from autosd.results.report.blocks import Block, Items, Section, Text
from autosd.results.report.opening import again, unit
from autosd.results.report.story import Story
from autosd.results.retrained import Retrained
from autosd.results.statistics import CONFIDENCE

ABOUT_BETTER = (
    "Better or worse is said only where the 95 % interval of the difference leaves zero out. The "
    "difference is taken seed by seed (seed k gives all recipes the same initial weights and the "
    "same order of images); the interval is Student's t over these differences. One seed has no "
    "interval."
)
ABOUT_SEARCH = (
    "The best that each family reached in the search, one run each, scored on val, which also "
    "guided the search. A family with more trials looks better than it is, because the best of "
    "more noisy values is higher; this table shows where the search went, not which family is best."
)


def leaderboard(story: Story) -> Section:
    """Families by the best value of their trials."""
    if not story.rows:
        return Section("families", "Families in the search", [Text("There are no trials.", "note")])
    controls = ", ".join(row.family for row in story.rows if row.family in story.controls)
    marked = f" Controls: {controls}." if controls else " The space has no controls."
    shown = tables.families(story.rows, story.controls, story.objective, story.images.get("val"))
    blocks: list[Block] = [Text(ABOUT_SEARCH + marked), shown]
    note = weight_of_an_image(story, "val")
    if note:
        blocks.append(Text(note, "note"))
    return Section("families", "Families in the search", blocks)


def confirmed(story: Story) -> Section:
    """Finalists on `select`."""
    title = "Confirmed with fresh seeds"
    if not story.compared:
        return Section("confirmed", title, [_unconfirmed(story)])
    seeds = len(story.compared[0].finalist.values)
    about = (
        f"The best recipes of the search, their published defaults and cross-entropy, each trained "
        f"again with the same {seeds} fresh seed{'' if seeds == 1 else 's'} and scored on select. "
        f"Differences are in {unit(story.objective)}. "
    )
    shown = tables.finalists(story.compared, story.controls, story.objective, story.images)
    blocks: list[Block] = [Text(about + ABOUT_BETTER), shown, Items(list(_caveats(story)))]
    return Section("confirmed", title, blocks)


def _unconfirmed(story: Story) -> Text:
    if story.definition.finalists.count == 0:
        return Text("The study was asked for no confirmation (finalists: 0).", "note")
    return Text("Not confirmed yet; the search does it at its end:", "note",
                again(story))  # fmt: skip


def _caveats(story: Story) -> Iterator[str]:
    count = sum(1 for one in story.compared if one.difference is not None)
    if count > 1:
        yield (
            f"Intervals hold one comparison at a time: where nothing differs, one in "
            f"{round(1 / (1 - CONFIDENCE))} still gives a verdict, and here are {count}."
        )
    yield (
        "The recipe at the top was picked as the highest of these means, so its lead is a little "
        "too good; a retraining repeats the comparison on test."
    )
    note = weight_of_an_image(story, "select")
    if note:
        yield note
    short = [one.finalist for one in story.compared if one.finalist.n < len(one.finalist.values)]
    for one in short:
        yield f"{one.label}: only {one.n} of {len(one.values)} runs gave a score."


def weight_of_an_image(story: Story, part: str) -> str:
    """What one image more or less changes, and how far the choice of images moves a score."""
    images = story.images.get(part)
    if not images or story.objective == "nll" or story.winner is None:
        return ""
    seen = story.winner.score.value if part != "val" else story.rows[0].value
    value = min(max(seen or 0.0, 0.0), 1.0)
    error = (value * (1 - value) / images) ** 0.5
    return (
        f"{part} has {images:,} images: one image is {100 / images:.2g} points, and other images "
        f"of the same kind would move a score near {metric(value, story.objective)} by about "
        f"± {100 * error:.1f} points (one standard error), for all recipes alike. Intervals over "
        "seeds do not contain this."
    )


def retrained(story: Story, table: Retrained | None) -> Section:
    """Recipes on test."""
    title = "On test, trained on all data"
    if table is None:
        ask = Text("Not retrained yet:", "note", f"autosd retrain {story.handle} --seeds 5")
        return Section("test", title, [ask, Text(readings(story.readings), "note")])
    seeds = f"{table.seeds[0]} to {table.seeds[-1]}" if len(table.seeds) > 1 else table.seeds[0]
    about = (
        f"Trained on {', '.join(table.trained_on)} for {table.epochs} epochs with seeds {seeds}, "
        f"the last epoch counts, scored once per run on {table.images:,} test images. Holm's "
        "verdict holds for all rows together; cost is that of a step, plain training's as 1. "
    )
    blocks: list[Block] = [
        Text(about + ABOUT_BETTER),
        tables.retrained(table),
        Items([*table.sentences, readings(story.readings)]),
    ]
    return Section("test", title, blocks)


def readings(found: Sequence[object]) -> str:
    """How often test was read."""
    if not found:
        return "The test part was never read."
    dates = [str(one.get("when", ""))[:10] for one in found if isinstance(one, dict)]
    days = sorted({date for date in dates if date})
    span = "" if not days else f", on {days[0]}" if len(days) == 1 else (
        f", between {days[0]} and {days[-1]}"
    )  # fmt: skip
    times = "once" if len(found) == 1 else f"{len(found)} times"
    return f"The test part was read {times}{span}; every reading is on record in split.json."
