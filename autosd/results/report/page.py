"""The report of a study as one page: a story put into sections, with its figures among them."""

import datetime
from collections.abc import Iterable, Mapping

import plotly.graph_objects as go

from autosd.results.report import closing, insides, opening, scores, searched, together
from autosd.results.report.blocks import Block, Page, Picture, Section
from autosd.results.report.calibrated import section as calibration
from autosd.results.report.figures import FIGURES
from autosd.results.report.story import Story

REST = "more"
PLACES = {
    "leaderboard": "families",
    "confirmed": "confirmed",
    "retrained": "test",
    "from_search_to_test": "test",
    "best_by_trials": "progress",
    "best_by_compute": "progress",
    "learning_curves": "curves",
    "what_mattered": "mattered",
    "knobs_within_families": "mattered",
    "slices": "knobs",
    "pairs": "knobs",
    "compositions": "knobs",
    "composition_pairs": "knobs",
    "accuracy_against_cost": "cost",
    "calibration": "calibration",
    "ensemble_members": "ensemble",
    "ensemble_kinds": "ensemble",
    "utilisation": "use",
}
"""The section of each figure; one without a place comes in the last section of figures."""
USUAL = 420


def drawn(story: Story) -> dict[str, go.Figure]:
    """Every figure that has something to show, by name, in the order of telling."""
    made = {name: draw(story) for name, draw in FIGURES.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def page(story: Story, figures: Mapping[str, go.Figure], now: datetime.datetime) -> Page:
    """The report of a study.

    Args:
        story: what is told.
        figures: from `drawn`.
        now: when it is told.
    """
    recipe = story.definition.recipe
    table = story.retrained
    sections = [
        *([closing.missing(story)] if story.missing else []),
        searched.section(story),
        scores.leaderboard(story),
        scores.confirmed(story),
        scores.retrained(story, table),
        Section("progress", "How the search went", []),
        Section("curves", "Learning curves", []),
        insides.mattered(story),
        insides.knobs(story),
        insides.cost(story),
        calibration(story, table),
        together.section(story, story.ensembled),
        closing.failures(story),
        closing.utilisation(story),
        Section(REST, "More figures", []),
        closing.limits(story),
        closing.reproduce(story),
    ]
    return Page(
        title=f"{recipe.model.name} on {opening.short_data(recipe.data.name)}",
        eyebrow="autosd: the search for a recipe, what it found and how sure that is",
        lead=opening.lead(story, table),
        status=opening.status([story], now),
        tiles=opening.tiles(story, table),
        sections=with_figures(sections, figures),
    )


def with_figures(sections: Iterable[Section], figures: Mapping[str, go.Figure]) -> list[Section]:
    """Sections with their figures; those that have nothing at all are left out."""
    placed = []
    for section in sections:
        here = [name for name in figures if PLACES.get(name, REST) == section.id]
        blocks: list[Block] = [*section.blocks, *(picture(name, figures[name]) for name in here)]
        if blocks:
            placed.append(Section(section.id, section.title, blocks))
    return placed


def picture(name: str, figure: go.Figure) -> Picture:
    """A figure as a block; its heading and note come from the figure itself."""
    said = figure.layout.meta or {}
    return Picture(
        name=name,
        title=said.get("title", name),
        note=said.get("note", ""),
        spec=str(figure.to_json()),
        height=int(figure.layout.height or USUAL),
    )
