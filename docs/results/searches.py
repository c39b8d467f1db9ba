"""The trials and finalists of searches as one file, for tables.py and for the figure of them.

    python docs/results/searches.py runs/f-joint runs/f-seeds >docs/results/searches.csv
    python docs/results/searches.py --figure docs/results/searches.csv docs/results/searches.svg

A line is a trial, or a recipe that was confirmed with `n` fresh seeds: then `value` is the mean on
the images held back for it. `compute` counts what the line trained, in plain trainings of the full
length: epochs times what the strategies declare of a step, with cross-entropy's as 1.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas

import autosd


def rows(path: Path) -> Iterator[dict[str, object]]:
    """The lines of one study."""
    study = autosd.Study.open(path)
    trials, epochs = study.trials(), study.story().definition.recipe.epochs
    for trial in trials.itertuples():
        yield {
            "search": path.name,
            "line": "trial",
            "number": trial.number,
            "recipe": trial.family,
            "state": trial.state,
            "value": trial.value,
            "sd": None,
            "n": 1,
            "compute": round(trial.epochs_run * trial.cost / epochs, 4) if trial.epochs_run else 0,
            "seconds": trial.seconds,
        }
    costs = trials.set_index("number")["cost"]
    for place, final in enumerate(study.finalists().itertuples(), start=1):
        yield {
            "search": path.name,
            "line": "finalist",
            "number": place,
            "recipe": final.recipe,
            "state": "complete",
            "value": final.mean,
            "sd": final.sd,
            "n": final.n,
            "compute": round(final.n * costs[final.trial], 4),
            "seconds": None,
        }


def take(paths: Sequence[Path]) -> None:
    """Write the lines of all studies to standard output."""
    lines = [line for path in paths for line in rows(path)]
    writer = csv.DictWriter(sys.stdout, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)


def draw(table: Path, picture: Path) -> None:
    """The best value on val that a search had found after so much compute."""
    from plotly import graph_objects

    lines = pandas.read_csv(table)
    trials = lines[lines["line"] == "trial"]
    figure = graph_objects.Figure()
    for name, of in trials.groupby("search", sort=False):
        best = of["value"].where(of["state"] == "complete").cummax().ffill()
        figure.add_scatter(
            x=of["compute"].cumsum(),
            y=best,
            name=str(name),
            mode="lines",
            line={"shape": "hv"},
        )
    figure.update_layout(
        template="plotly_white",
        width=760,
        height=380,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        legend={"x": 0.98, "y": 0.04, "xanchor": "right", "yanchor": "bottom"},
    )
    figure.update_xaxes(title="compute of the trials, in plain trainings")
    figure.update_yaxes(title="best on val, one run", tickformat=".1%")
    figure.write_image(picture)


def main() -> None:
    """Write the lines, or draw them."""
    if sys.argv[1:2] == ["--figure"]:
        draw(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        take([Path(path) for path in sys.argv[1:]])


if __name__ == "__main__":
    main()
