"""What the dashboard shows of a study beside its trials: the note and a few of our figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autosd.results.note import note
from autosd.results.report.story import Story
from autosd.search.study import StudyFolder, close

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ATTACHED = (
    "best_by_trials",
    "best_by_compute",
    "what_mattered",
    "knobs_within_families",
    "learning_curves",
    "accuracy_against_cost",
)
"""The others need more room than the dashboard gives, and are in the report."""
HEIGHT = 450
"""Pixels of a figure on the dashboard, which cuts off what is higher."""
HEADING = 48
LEGEND = {
    "orientation": "v",
    "x": 1.02,
    "xanchor": "left",
    "y": 1,
    "yanchor": "top",
    "entrywidth": 0,
}
MOST_CHARACTERS = 500_000
"""Of a figure in the database; a larger one is in the report alone."""


def write_note(folder: StudyFolder) -> None:
    """Write the note anew; to be called with the study's lock held, as it writes to the storage."""
    _write(folder, note(Story.read(folder)), {})


def attach(folder: StudyFolder) -> None:
    """Write note and figures anew; to be called with the study's lock held.

    A figure takes the place of the one that had its name.
    """
    from autosd.results.report.figures import FIGURES

    story = Story.read(folder)
    drawn = {name: FIGURES[name](story) for name in ATTACHED}
    figures = {name: on_dashboard(figure) for name, figure in drawn.items() if figure is not None}
    _write(folder, note(story), figures)


def on_dashboard(figure: "Figure") -> "Figure":
    """A copy as the dashboard needs it: with its heading beside the buttons, on white."""
    copy = type(figure)(figure)
    copy.update_layout(
        title={
            "text": (figure.layout.meta or {}).get("title", ""),
            "x": 0.02,
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 14},
            "font": {"size": 16},
        },
        margin_t=HEADING,
        legend=LEGEND,
        height=min(HEIGHT, (figure.layout.height or HEIGHT) + HEADING),
        width=None,
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8c959f"},
    )
    return copy


def _write(folder: StudyFolder, text: str, figures: "Mapping[str, Figure]") -> None:
    import optuna_dashboard

    study = folder.load(read_only=False)
    try:
        optuna_dashboard.save_note(study, text)
        for name, figure in figures.items():
            if len(figure.to_json()) <= MOST_CHARACTERS:
                optuna_dashboard.save_plotly_graph_object(study, figure, graph_object_id=name)
    finally:
        close(study)
