"""The page of two studies: the claim or why there is none, both winners, families, progress."""

import datetime
import itertools
from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from autosd.results import numbers
from autosd.results.numbers import duration, mean_and_sd, metric
from autosd.results.report.blocks import Block, Page, Section, Table, Text, Tile, row
from autosd.results.report.figures_progress import in_order, work_of
from autosd.results.report.look import COLOURS, figure, value_axis
from autosd.results.report.opening import result, short_data, status, unit
from autosd.results.report.page import picture
from autosd.results.report.pair import Pair
from autosd.results.report.scores import ABOUT_BETTER
from autosd.results.report.story import Story
from autosd.results.report.tables import difference, verdict
from autosd.results.statistics import verdict as judged
from autosd.results.wording import against, amount

HEIGHT = 380
PASSES, SECONDS = "image passes", "seconds of training"


def pair_page(pair: Pair, figures: Mapping[str, go.Figure], now: datetime.datetime) -> Page:
    """The comparison as a page.

    Args:
        pair: the two studies.
        figures: from `figures_of`.
        now: when it is told.
    """
    first, second = pair.names
    sections = [
        _missing(pair),
        Section("side", "Side by side", _side(pair)),
        Section("differs", "What differs between the studies", _changes(pair)),
        Section("both", "Confirmed in both", _both(pair)),
        Section("families", "Families of both", _families(pair)),
        Section("progress", "How the searches went", _progress(figures)),
    ]
    return Page(
        title=f"{first} and {second}",
        eyebrow="autosd: two studies side by side",
        lead=[Text(pair.sentence), *(Text(line, "note") for line in _behind(pair))],
        status=status(pair.stories, now),
        tiles=_tiles(pair),
        sections=[section for section in sections if section.blocks],
    )


def figures_of(pair: Pair) -> dict[str, go.Figure]:
    """The best score so far of both, against trials and against compute."""
    if not all(story.complete for story in pair.stories):
        return {}
    return {"pair_by_trials": _by_trials(pair), "pair_by_compute": _by_compute(pair)}


def _behind(pair: Pair) -> list[str]:
    lines = [
        f"{name}: {result(story)}" for name, story in zip(pair.names, pair.stories, strict=True)
    ]
    if pair.difference is not None:
        lines.append(
            "Both winners were picked as the best of their finalists, so both scores are a little "
            "too good. What made the difference, if there is one, may be anything that differs "
            "between the studies."
        )
    return lines


def _tiles(pair: Pair) -> list[Tile]:
    made = []
    for name, story in zip(pair.names, pair.stories, strict=True):
        won = story.winner
        if won is not None:
            score = won.score
            shown = mean_and_sd(score.value, score.sd, score.objective, score.images)
            note = f"{won.label}, on {score.part}" + ("" if won.confirmed else ", not confirmed")
            made.append(Tile(name, shown, note))
    if pair.difference is not None:
        mean, _, interval = against(pair.difference, pair.second.objective).partition(" (")
        note = f"95 % interval {interval.rstrip(')')}" if interval else pair.difference.why
        made.append(Tile("second minus first", f"{mean} {unit(pair.second.objective)}", note))
    return made


def _missing(pair: Pair) -> Section:
    lines = [
        row(name, line)
        for name, story in zip(pair.names, pair.stories, strict=True)
        for line in story.missing
    ]
    table = Table(["study", "what is missing"], lines, ["what is missing"])
    return Section("missing", "What is missing", [table] if lines else [])


def _side(pair: Pair) -> list[Block]:
    columns = [_facts(story) for story in pair.stories]
    lines = [row(name, columns[0][name], columns[1][name]) for name in columns[0]]
    return [Table(["", *pair.names], lines, list(pair.names))]


def _facts(story: Story) -> dict[str, str]:
    recipe, won, table = story.definition.recipe, story.winner, story.retrained
    compared = story.compared[0] if story.compared else None
    apart = None if compared is None else compared.difference
    tested = None if table is None else table.winner.metrics.get(table.metric)
    on_test = "not retrained yet"
    if table is not None and tested is not None:
        shown = mean_and_sd(tested.mean, tested.sd, table.metric, table.images)
        on_test = f"{table.winner.recipe}: {shown} ({table.winner.n} seeds)"
    return {
        "data": short_data(recipe.data.name),
        "images": ", ".join(f"{part} {count:,}" for part, count in story.images.items()) or "-",
        "network": recipe.model.name,
        "epochs": str(recipe.epochs),
        "families": str(len(story.space.families)),
        "trials": f"{story.counts.counted} of {story.definition.trials}",
        "time": duration(story.use.seconds) if story.use.seconds else "-",
        "winner": "-" if won is None else won.label,
        "its score": "-" if won is None else f"{numbers.score(won.score)} on {won.score.part}"
        + ("" if won.confirmed else ", not confirmed"),
        "to its cross-entropy": "-" if apart is None else against(apart, story.objective),
        "verdict": "-" if compared is None else compared.verdict,
        "on test": on_test,
    }  # fmt: skip


def _changes(pair: Pair) -> list[Block]:
    if not pair.changes:
        return [Text("Nothing: the same definition, space, data and versions.", "note")]
    lines = [row(one.what, one.first, one.second) for one in pair.changes]
    return [Table(["", *pair.names], lines, list(pair.names))]


def _both(pair: Pair) -> list[Block]:
    if not pair.both:
        return [Text("No recipe was confirmed in both.", "note")]
    objective = pair.second.objective
    lines = [
        row(
            one.label,
            mean_and_sd(one.first.mean, one.first.sd, pair.first.objective),
            mean_and_sd(one.second.mean, one.second.sd, objective),
            *difference(one.difference, objective),
            verdict("-" if one.difference is None
                    else judged(one.difference, not pair.second.minimise)),
        )
        for one in pair.both
    ]  # fmt: skip
    about = (
        f"Published defaults and cross-entropy, on select; second minus first, in "
        f"{unit(objective)}. "
    )
    heads = ["recipe", *pair.names, "difference", "95 % interval", "verdict"]
    return [Text(about + (_why_not(pair) or ABOUT_BETTER)), Table(heads, lines)]


def _families(pair: Pair) -> list[Block]:
    if not pair.families:
        return [Text("The spaces have no family in common.", "note")]
    best = [{one.family: one for one in story.rows} for story in pair.stories]
    lines = []
    for family in pair.families:
        rows = [of[family] for of in best]
        values = [one.value for one in rows]
        apart = "-"
        if values[0] is not None and values[1] is not None and not pair.obstacles:
            apart = amount(values[1] - values[0], pair.second.objective).split()[0]
        shown = [
            metric(value, story.objective, story.images.get("val"))
            for value, story in zip(values, pair.stories, strict=True)
        ]
        tried = [str(one.complete + one.pruned + one.failed) for one in rows]
        lines.append(row(family, *shown, apart, *tried))
    about = (
        "The best value of each family in the search, on val: one run each, the highest of "
        "several, so a difference here claims nothing. "
    )
    heads = ["family", *pair.names, "difference", *(f"trials of {name}" for name in pair.names)]
    return [Text(about + _why_not(pair)), Table(heads, lines)]


def _why_not(pair: Pair) -> str:
    if not pair.obstacles:
        return ""
    return f"Differences are left out: {'; '.join(pair.obstacles)}."


def _progress(figures: Mapping[str, go.Figure]) -> list[Block]:
    if not figures:
        return [Text("At least one of the studies has no complete trial yet.", "note")]
    return [picture(name, one) for name, one in figures.items()]


def _by_trials(pair: Pair) -> go.Figure:
    steps = []
    for story in pair.stories:
        ended = in_order(story)
        steps.append([float(place) for place in range(1, len(ended) + 1)])
    note = "The best value on val so far. The best of many noisy values is too good to be true."
    shape = _overlaid(pair, steps, "Best score against trials", note)
    shape.update_xaxes(title_text="trials ended", rangemode="tozero")
    return shape


def _by_compute(pair: Pair) -> go.Figure:
    work = [work_of(story, in_order(story)) for story in pair.stories]
    both = {unit for _, unit in work} == {PASSES}
    steps = []
    for story, (amounts, _) in zip(pair.stories, work, strict=True):
        spent = amounts if both else [one.seconds for one in in_order(story)]
        steps.append(list(itertools.accumulate(spent)))
    note = (
        f"The same against the work done, in {PASSES if both else SECONDS}, of stopped trials too."
        + ("" if both else " Seconds of different machines are different work.")
    )
    shape = _overlaid(pair, steps, "Best score against compute", note)
    shape.update_xaxes(title_text=PASSES if both else SECONDS, rangemode="tozero")
    return shape


def _overlaid(pair: Pair, steps: Sequence[Sequence[float]], title: str, note: str) -> go.Figure:
    """A stair for each study: its best complete value after each trial that ended."""
    warn = f" {pair.obstacles[0].capitalize()}." if pair.obstacles else ""
    shape = figure(title, note + warn, HEIGHT)
    values: list[float] = []
    for place, (story, at) in enumerate(zip(pair.stories, steps, strict=True)):
        points = _stairs(story, at)
        values += [value for _, value in points]
        shape.add_scatter(
            x=[x for x, _ in points],
            y=[value for _, value in points],
            mode="lines",
            line={"shape": "hv", "width": 2.5, "color": COLOURS[2 * place],
                  "dash": "dash" if place else "solid"},
            name=escape(pair.names[place]),
        )  # fmt: skip
    shape.update_yaxes(value_axis(pair.second, values))
    return shape


def _stairs(story: Story, at: Sequence[float]) -> list[tuple[float, float]]:
    better = min if story.minimise else max
    best: float | None = None
    points = []
    for x, one in zip(at, in_order(story), strict=True):
        if one.state == "complete" and one.value is not None:
            best = one.value if best is None else better(best, one.value)
        if best is not None:
            points.append((x, best))
    return points
