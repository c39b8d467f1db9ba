"""The trials and finalists of searches as one file, for tables.py.

    python docs/results/searches.py runs/f-joint runs/f-seeds >docs/results/searches.csv

A line is a trial, or a recipe that was confirmed with `n` fresh seeds: then `value` is the mean on
the images held back for it. `origin` says whether a trial was a default, drawn around a default
(`prior`), or the search's own. `compute` counts what the line trained, in plain trainings of the
full length: epochs times what the strategies declare of a step, with cross-entropy's as 1.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

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
            "origin": trial.origin,
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
            "origin": None,
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


if __name__ == "__main__":
    take([Path(path) for path in sys.argv[1:]])
