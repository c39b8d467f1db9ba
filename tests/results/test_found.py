"""A finished study: what is said of it, and that every place says the same."""

import json
import statistics
from pathlib import Path

import pytest
import torch

import autosd
from autosd import yamlfile
from autosd.data.loading import load_data
from autosd.recipe import Recipe
from autosd.results.found import search
from autosd.results.numbers import mean_and_sd
from autosd.results.state import read
from autosd.search.lists import read_records
from autosd.search.ready import check
from autosd.search.study import StudyFolder


def test_the_number_of_the_winner_is_the_mean_of_its_confirmation_runs(found):
    runs = read_records(found.outcome.folder.finalists)
    values = [run.value("select", "top1") for run in runs if run.label == found.winner.label]
    assert found.winner.score.value == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert found.winner.score.sd == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert (found.winner.score.n, found.winner.score.part) == (2, "select")


def test_search_status_and_best_say_the_same_number(found):
    state = read("tiny", found.outcome.folder.path.parent)
    said = state.mapping()["best"]
    assert said == found.mapping()["best"]
    assert found.mapping()["finalists"][0]["mean"] == said["value"]
    metrics = json.loads((found.model_dir / "metrics.json").read_text())
    assert metrics["score"]["mean"] == pytest.approx(said["value"], abs=1e-6)


def test_the_winner_has_the_highest_mean(found):
    means = [finalist.mean for finalist in found.outcome.finalists]
    assert means == sorted(means, reverse=True)
    assert found.winner.label == found.outcome.finalists[0].label


def test_cross_entropy_and_the_published_default_are_finalists(found):
    labels = [finalist.label for finalist in found.outcome.finalists]
    assert "cross_entropy" in labels
    if any(label.startswith("label_smoothing") for label in labels):
        assert "label_smoothing-default" in labels


def test_the_leaderboard_has_every_family_and_cross_entropy(found):
    assert {row.family for row in found.rows} == {"cross_entropy", "label_smoothing"}
    assert sum(row.complete + row.pruned + row.failed for row in found.rows) == 4
    baseline = next(row for row in found.rows if row.family == "cross_entropy")
    assert baseline.gain == 0.0


def test_best_holds_the_winners_student_of_the_first_seed(found):
    recipe = Recipe.read(found.model_dir / "recipe.yaml")
    assert recipe.seed == 1000
    assert recipe.with_seed(0) == found.winner.recipe
    student = autosd.load(found.model_dir)
    part = load_data(recipe.data).part("select")
    images = torch.stack([student.preprocess(part.images[row]) for row in part.rows])
    with torch.no_grad():
        right = student(images).argmax(1).numpy() == part.labels
    said = json.loads((found.model_dir / "metrics.json").read_text())["metrics"]["select"]["top1"]
    assert right.mean() == pytest.approx(said, abs=1e-12)


@pytest.mark.parametrize(("key", "value"), [("precision", None), ("epochs", 9)])
def test_best_holds_the_winner_where_a_key_is_new_or_retrain_had_other_epochs(root, key, value):
    path = root / "tiny/best/recipe.yaml"
    recipe = yamlfile.read(path)
    assert recipe.pop(key) != value
    path.write_text(yamlfile.dumps(recipe if value is None else {**recipe, key: value}))
    facts = json.loads((root / "tiny/best/metrics.json").read_text()) | {"winner": "another day's"}
    (root / "tiny/best/metrics.json").write_text(json.dumps(facts))
    assert read("tiny", root).model_dir == root / "tiny/best"


def test_best_does_not_hold_another_recipe(root: Path):
    path = root / "tiny/best/recipe.yaml"
    path.write_text(yamlfile.dumps({**yamlfile.read(path), "batch_size": 32}))
    assert read("tiny", root).model_dir is None


def test_the_card_says_what_the_student_is(found):
    card = (found.model_dir / "README.md").read_text()
    assert card.startswith("# resnet8 on digits")
    assert "confirmation" in card
    assert "Trained on: train." in card
    assert "autosd.load" in card


def test_card_and_note_have_the_words_of_the_terminal(found):
    import optuna_dashboard

    card = (found.model_dir / "README.md").read_text()
    for row in found.comparisons:
        one = row.finalist
        shown = mean_and_sd(one.mean, one.sd, "top1", found.winner.score.images)
        line = f"| {one.label} | {shown} | {one.n} | {row.verdict} |"
        assert line in card
        assert line in optuna_dashboard.get_note(found.outcome.folder.load())
    reference = next(row for row in found.comparisons if row.finalist.label == "cross_entropy")
    assert (reference.verdict, reference.difference) == ("reference", None)


def test_the_note_of_the_study_names_the_finalists(found):
    import optuna_dashboard

    study = found.outcome.folder.load()
    note = optuna_dashboard.get_note(study)
    assert all(finalist.label in note for finalist in found.outcome.finalists)


def test_the_same_search_again_does_nothing(found, root: Path):
    again = search(check(found.outcome.folder.definition), root, engine="inline")
    assert not again.outcome.worked
    assert again.winner.score == found.winner.score


def test_without_a_confirmation_the_search_value_is_shown_as_what_it_is(root: Path):
    folder = StudyFolder.find("tiny", root)
    (folder.finalists / "chosen.json").unlink()
    won = read("tiny", root).need_winner()
    assert not won.confirmed
    assert (won.score.part, won.score.n, won.score.sd) == ("val", 1, None)
    assert won.score.value == won.search_value


def test_a_search_never_reads_test(found):
    split = json.loads((found.outcome.folder.path / "split.json").read_text())
    assert split["test_readings"] == []
