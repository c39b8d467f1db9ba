"""Trials and learning curves of a study as pandas frames, one row each, ready for a CSV file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from autosd.results.outcome import Comparison
from autosd.results.report.story import Story
from autosd.search import curve
from autosd.search.knobs import Knob
from autosd.search.records import TrialRecord

TRIAL_COLUMNS = {
    "number": "int64",
    "state": "str",
    "family": "str",
    "strategies": "str",
    "value": "float64",
    "epochs_run": "int64",
    "seconds": "float64",
    "cost": "float64",
    "origin": "str",
    "protected": "boolean",
    "why": "str",
    "started": "datetime64[us]",
    "finished": "datetime64[us]",
}
"""Columns that every study has, with their types; those of its knobs follow."""
METRICS = ("top1", "top5", "nll", "ece", "brier", "balanced_accuracy")
CURVE_COLUMNS = {
    "trial": "int64",
    "family": "str",
    "state": "str",
    "epoch": "int64",
    "epochs": "Int64",
    "train_loss": "float64",
    "train_top1": "float64",
    **{f"val_{metric}": "float64" for metric in METRICS},
    "seconds": "float64",
    "images_per_second": "float64",
}
LEADERBOARD_COLUMNS = {
    "family": "str",
    "value": "float64",
    "gain": "float64",
    "trial": "Int64",
    "complete": "int64",
    "pruned": "int64",
    "failed": "int64",
}
FINALIST_COLUMNS = {
    "recipe": "str",
    "family": "str",
    "strategies": "str",
    "mean": "float64",
    "sd": "float64",
    "n": "int64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "verdict": "str",
    "search_value": "float64",
    "trial": "Int64",
}


def trials_frame(story: Story) -> pd.DataFrame:
    """One row per trial in order of number; superseded attempts and duplicates are left out.

    Columns: those of `TRIAL_COLUMNS`, as in `TrialRecord`, then one for every knob of the space
    under the name it has in the study (`optimizer.lr`, `masd.mask_ratio`), missing where a trial
    did not draw it. A float knob is float64, an integer one Int64, a choice of truth values
    boolean, of numbers float64 or Int64, every other choice str.
    """
    knobs = story.space.parameters()
    rows = [_trial(story, record, knobs) for record in story.trials]
    return _frame(rows, {**TRIAL_COLUMNS, **{name: _kind(knob) for name, knob in knobs.items()}})


def curves_frame(story: Story) -> pd.DataFrame:
    """One row per trial and epoch, by trial, then epoch; see `CURVE_COLUMNS`.

    `trial` is the number and `state` the end of the trial, `epoch` counts from 1 of `epochs`
    planned, `seconds` is the wall time of the epoch with its evaluation. Where a folder has no
    `history.jsonl` any more, the values of the objective that the database kept stand alone.
    """
    rows = [row for record in story.trials for row in _epochs(story, record)]
    return _frame(rows, CURVE_COLUMNS)


def leaderboard_frame(story: Story) -> pd.DataFrame:
    """One row per family, best first; see `LEADERBOARD_COLUMNS`.

    `value` is that of its best complete `trial` on `val`, `gain` what that is above cross-entropy's
    best; `complete`, `pruned` (diverged ones too) and `failed` count its trials. The best of many
    noisy values is too good to be true: the finalists' means are not.
    """
    return _frame([asdict(row) for row in story.rows], LEADERBOARD_COLUMNS)


def finalists_frame(story: Story) -> pd.DataFrame:
    """One row per confirmed recipe, best first; see `FINALIST_COLUMNS`.

    `mean` and `sd` are of the objective on `select` over `n` fresh seeds; `difference` to
    cross-entropy with its 95 % interval `low` to `high`, seed by seed, and the `verdict`;
    `search_value` is what its `trial` had reached on `val`.
    """
    return _frame([_finalist(compared) for compared in story.compared], FINALIST_COLUMNS)


def _finalist(compared: Comparison) -> dict[str, Any]:
    one, apart = compared.finalist, compared.difference
    return {
        "recipe": one.label,
        "family": one.family,
        "strategies": ", ".join(one.strategies),
        **{name: getattr(one, name) for name in ("mean", "sd", "n", "search_value", "trial")},
        "difference": None if apart is None else apart.mean,
        "low": None if apart is None else apart.low,
        "high": None if apart is None else apart.high,
        "verdict": compared.verdict,
    }


def _trial(story: Story, record: TrialRecord, knobs: Mapping[str, Knob]) -> dict[str, Any]:
    effort = story.efforts.get(record.lineage)
    cost = effort.cost if record.cost is None and effort is not None else record.cost
    fields = {name: getattr(record, name) for name in TRIAL_COLUMNS}
    drawn = {name: _plain(knob, record.params.get(name)) for name, knob in knobs.items()}
    return {
        **fields,
        "family": record.family or None,
        "strategies": ", ".join(record.strategies) or None,
        "why": record.why or None,
        "cost": cost,
        **drawn,
    }


def _kind(knob: Knob) -> str:
    """The type of a knob's column."""
    if knob.kind != "choice":
        return "Int64" if knob.kind == "integers" else "float64"
    kinds = {type(value) for value in knob.choices if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64"
    return "float64" if kinds and kinds <= {int, float} else "str"


def _plain(knob: Knob, value: Any) -> Any:
    """A value that the type of its column holds."""
    if value is None or _kind(knob) != "str" or isinstance(value, str):
        return value
    return json.dumps(value)


def _epochs(story: Story, record: TrialRecord) -> Iterator[dict[str, Any]]:
    identity = {"trial": record.number, "family": record.family or None, "state": record.state}
    history = _history(story, record)
    for epoch in history:
        metrics = epoch["evaluated"].get("val", {})
        yield {
            **identity,
            "epoch": epoch["epoch"],
            "epochs": epoch.get("epochs"),
            **{f"train_{name}": epoch["train"].get(name) for name in ("loss", "top1")},
            **{f"val_{name}": metrics.get(name) for name in METRICS},
            "seconds": epoch["seconds"],
            "images_per_second": epoch["images_per_second"],
        }
    if not history:
        for step, value in record.curve:
            yield {**identity, "epoch": step, f"val_{story.objective}": value}


def _history(story: Story, record: TrialRecord) -> list[dict[str, Any]]:
    """The curve of a trial on disk; none where there is no file or a broken one."""
    try:
        return curve.read(story.folder.trial(record.lineage) / "history.jsonl")
    except (OSError, ValueError):
        return []


def _frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """A frame with exactly these columns, each of its type."""
    made = {
        name: pd.Series([row.get(name) for row in rows], dtype=kind)
        for name, kind in columns.items()
    }
    return pd.DataFrame(made)
