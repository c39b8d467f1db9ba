"""Every figure of the report by name, in the order of telling.

A figure is a function of the story and gives None where there is nothing to show. Its heading and
what has to be said of it stand in `figure.layout.meta`: `title` and `note`, plain text.
"""

from collections.abc import Callable

from plotly.graph_objects import Figure

from autosd.results.report.figures_calibration import calibration
from autosd.results.report.figures_compositions import composition_pairs, compositions
from autosd.results.report.figures_cost import accuracy_against_cost, utilisation
from autosd.results.report.figures_curves import learning_curves
from autosd.results.report.figures_ensemble import ensemble_kinds, ensemble_members
from autosd.results.report.figures_families import leaderboard
from autosd.results.report.figures_importance import knobs_within_families, what_mattered
from autosd.results.report.figures_knobs import pairs, slices
from autosd.results.report.figures_progress import best_by_compute, best_by_trials
from autosd.results.report.figures_results import (
    confirmed,
    from_search_to_test,
    retrained,
)
from autosd.results.report.story import Story

FIGURES: dict[str, Callable[[Story], Figure | None]] = {
    "retrained": retrained,
    "confirmed": confirmed,
    "from_search_to_test": from_search_to_test,
    "leaderboard": leaderboard,
    "best_by_trials": best_by_trials,
    "best_by_compute": best_by_compute,
    "learning_curves": learning_curves,
    "what_mattered": what_mattered,
    "knobs_within_families": knobs_within_families,
    "slices": slices,
    "pairs": pairs,
    "compositions": compositions,
    "composition_pairs": composition_pairs,
    "accuracy_against_cost": accuracy_against_cost,
    "calibration": calibration,
    "ensemble_members": ensemble_members,
    "ensemble_kinds": ensemble_kinds,
    "utilisation": utilisation,
}
