"""Every figure of the report by name, in the order of telling.

A figure is a function of the story and gives None where there is nothing to show. Its heading and
what has to be said of it stand in `figure.layout.meta`: `title` and `note`, plain text.
"""

from collections.abc import Callable

from plotly.graph_objects import Figure

from autosd.results.report.figures_progress import best_by_compute, best_by_trials
from autosd.results.report.story import Story

FIGURES: dict[str, Callable[[Story], Figure | None]] = {
    "best_by_trials": best_by_trials,
    "best_by_compute": best_by_compute,
}
