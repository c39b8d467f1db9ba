"""A study from Python: its trials, curves, best recipe and figures, as a notebook wants them.

Reading needs neither torch nor Ray and never writes.
"""

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.results.best import holds
from autosd.results.numbers import metric
from autosd.results.outcome import Score, Winner, winner
from autosd.results.report.story import Story
from autosd.search.study import StudyFolder

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import torch


@dataclass(frozen=True)
class Best:
    """The best recipe of a study.

    Attributes:
        label: such as `masd-0012`, `masd-default` or `cross_entropy`.
        family: of the space.
        strategies: of the recipe.
        recipe: what `autosd.train` takes, with the study's seed.
        score: on `select` with fresh seeds where confirmed, else on `val`.
        confirmed: whether fresh seeds stand behind the score.
        search_value: what the search had measured on `val`, or None.
        trial: its number in the search, or None.
        params: what the search had drawn; empty where no trial ran this recipe.
        model_dir: folder of its student, None while there is none.
        line: label and score in words.
    """

    label: str
    family: str
    strategies: tuple[str, ...]
    recipe: Recipe = field(repr=False)
    score: Score
    confirmed: bool
    search_value: float | None
    trial: int | None
    params: dict[str, Any] = field(repr=False)
    model_dir: Path | None
    line: str = field(repr=False)

    @classmethod
    def of(cls, won: Winner, best: Path) -> Self:
        """The winner of a study whose folder of the best student is `best`."""
        names = ("label", "family", "strategies", "recipe", "score", "confirmed")
        same = {name: getattr(won, name) for name in (*names, "search_value", "trial", "params")}
        kept = holds(best, won.recipe) is not None
        return cls(**same, model_dir=best if kept else None, line=won.line)

    def load(self) -> "torch.nn.Module":
        """Its student in eval mode; see `autosd.load`.

        Raises:
            AutosdError: no student is kept yet.
        """
        if self.model_dir is None:
            raise AutosdError(
                f"{self.label}: no student is kept yet; the confirmation that ends a search keeps "
                "one, and so does autosd retrain"
            )
        from autosd.training.export import load_student

        return load_student(self.model_dir)


class Study:
    """A study on disk; every call reads it anew, so a running search may be watched."""

    def __init__(self, folder: StudyFolder) -> None:
        """A study that is open already; `Study.open` finds one."""
        self.folder = folder

    @classmethod
    def open(cls, study: str | Path, dir: str | Path = "runs") -> Self:
        """Open a study by its name under `dir`, or by the path of its folder.

        Raises:
            AutosdError: no such study; names the ones there are.
        """
        return cls(StudyFolder.find(str(study), Path(dir)))

    @property
    def name(self) -> str:
        """Of the study."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    def story(self) -> Story:
        """All that is known now, as figures and report take it."""
        return Story.read(self.folder)

    def trials(self) -> "pd.DataFrame":
        """One row per trial in order of number; see `frames.trials_frame` for the columns.

        `number`, `state` (complete, pruned, diverged, failed, running or waiting), `family`,
        `strategies`, `value` (of the objective on `val`, last epoch), `epochs_run`, `seconds`,
        `cost` (declared, of a step, cross-entropy's is 1), `origin` (default, prior, search, user),
        `protected` (from the pruner), `why` (pruned, diverged or failed), `started`, `finished`
        (local time), and one column for every knob of the space, missing where it was not drawn.
        """
        from autosd.results.frames import trials_frame

        return trials_frame(self.story())

    def curves(self) -> "pd.DataFrame":
        """One row per trial and epoch; see `frames.curves_frame` for the columns.

        `trial`, `family`, `state`, `epoch` (from 1), `epochs` (planned), `train_loss`,
        `train_top1`, `val_top1`, `val_top5`, `val_nll`, `val_ece`, `val_brier`,
        `val_balanced_accuracy`, `seconds`, `images_per_second`. Shares are fractions of 0 to 1.
        """
        from autosd.results.frames import curves_frame

        return curves_frame(self.story())

    def leaderboard(self) -> "pd.DataFrame":
        """One row per family, best first; see `frames.leaderboard_frame`."""
        from autosd.results.frames import leaderboard_frame

        return leaderboard_frame(self.story())

    def finalists(self) -> "pd.DataFrame":
        """One row per confirmed recipe, best first; see `frames.finalists_frame`."""
        from autosd.results.frames import finalists_frame

        return finalists_frame(self.story())

    def best(self) -> Best:
        """The best recipe: of the confirmation where it is done, else of the search.

        Raises:
            AutosdError: no trial is complete yet.
        """
        won = winner(self.folder, self.story().trials)
        if won is None:
            raise AutosdError(f"study {self.name}: no trial is complete yet")
        return Best.of(won, self.folder.best)

    def figures(self) -> "dict[str, go.Figure]":
        """The report's figures by name, without those that have nothing to show.

        Each is also a function of `study.story()` in `autosd.results.report.figures`.
        """
        from autosd.results.report.figures import FIGURES

        story = self.story()
        drawn = {name: draw(story) for name, draw in FIGURES.items()}
        return {name: figure for name, figure in drawn.items() if figure is not None}

    def __repr__(self) -> str:
        story = self.story()
        best = "" if story.winner is None else f"; best {story.winner.line}"
        return f"<Study {self.name}: {_trials(story)}{best}>"

    def _repr_html_(self) -> str:
        """The study in a notebook: its families, best first, and the winner."""
        story = self.story()
        recipe = story.definition.recipe
        about = f"{recipe.model.name} on {recipe.data.name}; {_trials(story)}"
        best = "" if story.winner is None else f"<p>Best: {html.escape(story.winner.line)}</p>"
        return f"<p><b>{html.escape(self.name)}</b>: {html.escape(about)}</p>{_table(story)}{best}"


def _trials(story: Story) -> str:
    now = story.counts
    return (
        f"{now.counted} of {story.definition.trials} trials ({now.complete} complete, "
        f"{now.pruned} pruned, {now.failed} failed)"
    )


def _table(story: Story) -> str:
    """Families with the best value of their trials, as a table of HTML."""
    heads = ("family", f"best {story.objective} on val", "complete", "pruned", "failed")
    images = story.images.get("val")
    body = ""
    for row in story.rows:
        value = metric(row.value, story.objective, images)
        cells = (row.family, value, row.complete, row.pruned, row.failed)
        body += f"<tr>{_cells('td', cells)}</tr>"
    return f"<table><thead><tr>{_cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, values: tuple[object, ...]) -> str:
    return "".join(f"<{tag}>{html.escape(str(value))}</{tag}>" for value in values)
