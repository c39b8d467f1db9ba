"""A study from Python, on a finished small study."""

import inspect
import json
import math
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from plotly.graph_objects import Figure

import autosd
from autosd.results import calls
from autosd.results.api import Study
from autosd.results.calls import WORDS
from autosd.results.frames import CURVE_COLUMNS, TRIAL_COLUMNS, trials_frame
from autosd.results.report.figures import FIGURES
from autosd.results.report.story import Story

ROOT = Path(__file__).resolve().parents[2]
PYTHON_MD = (ROOT / "docs/python.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study(found) -> Study:
    return Study.open(found.outcome.folder.path)


def test_a_study_opens_by_name_and_by_path(root: Path):
    assert Study.open("tiny", root).path == Study.open(root / "tiny").path
    with pytest.raises(autosd.AutosdError, match=r"no study 'tinny'.*Did you mean 'tiny'"):
        Study.open("tinny", root)


def test_trials_are_a_row_each_with_their_knobs(study, found):
    frame, records = study.trials(), found.outcome.folder.records()
    assert list(frame) == [*TRIAL_COLUMNS, "label_smoothing.smoothing"]
    assert list(frame.number) == [record.number for record in records]
    assert list(frame.value) == [record.value for record in records]
    plain, smoothed = frame.iloc[0], frame.iloc[1]
    assert (plain.family, plain.strategies, plain.state) == (*["cross_entropy"] * 2, "complete")
    assert math.isnan(plain["label_smoothing.smoothing"])
    assert smoothed["label_smoothing.smoothing"] == 0.1
    assert (frame.cost == 1.0).all()
    assert (frame.finished > frame.started).all()


def test_curves_have_every_epoch_of_every_trial(study):
    frame = study.curves()
    assert list(frame) == list(CURVE_COLUMNS)
    trials = study.trials()
    last = frame.sort_values("epoch").groupby("trial").last()
    assert list(frame.groupby("trial").size()) == list(trials.epochs_run)
    assert list(last.val_top1.round(6)) == list(trials.value)


def test_curves_without_their_files_have_what_the_database_kept(root: Path):
    for path in (root / "tiny/trials").glob("*/history.jsonl"):
        path.unlink()
    study = Study.open("tiny", root)
    frame = study.curves()
    assert list(frame.val_top1) == list(study.trials().value)
    assert frame.train_loss.isna().all()


@pytest.mark.parametrize("name", ["trials", "curves", "leaderboard", "finalists"])
def test_a_frame_survives_a_csv_file(study, name, tmp_path: Path):
    frame = getattr(study, name)()
    frame.to_csv(tmp_path / "frame.csv", index=False)
    times = [column for column in ("started", "finished") if column in frame]
    kinds = frame.dtypes.drop(times).to_dict()
    again = pd.read_csv(tmp_path / "frame.csv", dtype=kinds, parse_dates=times)
    pd.testing.assert_frame_equal(again, frame)


def test_knobs_of_every_kind_have_their_type(study):
    story = study.story()
    kinds = {
        "a": {"uniform": [0, 1], "default": 0.5},
        "b": {"integers": [1, 4], "default": 2},
        "c": {"choice": [True, False], "default": True},
        "d": {"choice": ["light", "full"], "default": "full"},
        "e": {"choice": [1, 2], "default": 1},
        "f": {"choice": [0.5, 1], "default": 1},
        "g": {"choice": ["auto", 1], "default": 1},
    }
    drawn = {"a": 0.25, "b": 3, "c": False, "d": "light", "e": 2, "f": 0.5, "g": 1}
    space = story.space.parse({"training": {"knobs": kinds}, "families": {"cross_entropy": {}}})
    first, *others = story.attempts
    attempts = (replace(first, params={"strategy": "cross_entropy", **drawn}), *others)
    folder = replace(story.folder, space=space)
    frame = trials_frame(replace(story, folder=folder, attempts=attempts))
    shown = {name: str(frame[name].dtype) for name in kinds}
    types = ("float64", "Int64", "boolean", "str", "Int64", "float64", "str")
    assert shown == dict(zip(kinds, types, strict=True))
    assert frame.loc[0, list(kinds)].to_dict() == {**drawn, "g": "1"}
    assert frame.loc[1, list(kinds)].isna().all()


def test_every_column_is_documented_with_its_type(study):
    for columns in (TRIAL_COLUMNS, CURVE_COLUMNS):
        for name, kind in columns.items():
            row = next(row for row in PYTHON_MD.splitlines() if f"| `{name}`" in row or
                       (row.startswith("|") and f"`{name}`" in row.split("|")[1]))  # fmt: skip
            assert kind in row.split("|")[2]
    for frame in (study.leaderboard(), study.finalists()):
        assert all(f"`{name}`" in PYTHON_MD for name in frame)


def test_the_best_is_the_winner_with_its_confirmed_score(study, found):
    best = study.best()
    assert (best.label, best.score, best.line) == (
        found.winner.label,
        found.winner.score,
        found.winner.line,
    )
    assert best.model_dir == found.model_dir
    student = best.load()
    assert student(torch.zeros(2, *student.spec.image_shape)).shape == (2, 10)


def test_without_a_student_loading_says_how_to_get_one(root: Path):
    (root / "tiny/best/model.json").unlink()
    best = Study.open("tiny", root).best()
    assert best.model_dir is None
    with pytest.raises(autosd.AutosdError, match="autosd retrain"):
        best.load()


def test_figures_are_those_of_the_report(study):
    figures = study.figures()
    assert set(figures) <= set(FIGURES)
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert figures["best_by_trials"] == FIGURES["best_by_trials"](study.story())


def test_the_table_of_a_notebook_escapes_what_users_name(found, monkeypatch):
    story = Story.read(found.outcome.folder)
    evil = "</script><img onerror=alert(1)>"
    rows = (replace(story.rows[0], family=evil), *story.rows[1:])
    study = Study(found.outcome.folder)
    monkeypatch.setattr(study, "story", lambda: replace(story, rows=rows))
    shown = study._repr_html_()
    assert "<img" not in shown
    assert "&lt;/script&gt;&lt;img onerror=alert(1)&gt;" in shown
    assert found.winner.line in shown
    assert found.winner.line in repr(study)


def test_reading_needs_neither_torch_nor_ray_and_writes_nothing(root: Path):
    before = files(root)
    script = (
        "import sys, autosd\n"
        f"study = autosd.Study.open('tiny', {str(root)!r})\n"
        "study.trials(), study.curves(), study.best(), study.figures(), study._repr_html_()\n"
        "study.leaderboard(), study.finalists(), repr(study)\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert files(root) == before


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_search_goes_on_with_a_study_in_any_thread(root: Path, capsys):
    lines, given = [], []

    def run() -> None:
        given.append(autosd.search("tiny", dir=root, engine="inline", watch=lines.append))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert given[0].path == root / "tiny"
    assert capsys.readouterr().out == ""


def test_search_names_faults_by_its_own_arguments(tmp_path: Path):
    faults = [
        ({"trials": 0}, "^trials: "),
        ({"time_budget": "soon"}, "^time_budget soon: "),
        ({"settings": {"epochs": 0}}, "^settings epochs: "),
        ({"settings": {"masdd.mask_ratio": 0}}, "^settings: masdd.mask_ratio: .*'masd'"),
    ]
    for given, message in faults:
        with pytest.raises(autosd.AutosdError, match=message):
            autosd.search(data="digits", dir=tmp_path / "runs", **given)
    assert not (tmp_path / "runs").exists()


def test_search_has_every_option_of_the_command():
    from autosd.cli.definition import OPTIONS

    words = {key: word.removeprefix("--").replace("-", "_") for key, word in OPTIONS.items()}
    assert WORDS.options == words
    assert set(inspect.signature(calls.search).parameters) >= set(words.values())


def test_the_package_of_the_search_can_be_called_whatever_was_imported_first():
    script = "import autosd.search.study, pickle, autosd; print(callable(autosd.search))\n"
    script += "assert pickle.loads(pickle.dumps(autosd.search)) is autosd.search"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_notebook_runs(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "docs/notebook.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    kept = json.loads((tmp_path / "runs/notebook/best/metrics.json").read_text())
    assert kept["label"] in done.stdout
    assert {"trials.csv", "best_by_trials.html", "runs"} == {
        path.name for path in tmp_path.iterdir()
    }
