"""Which recipes a retraining takes, from trials and confirmed scores alone."""

from pathlib import Path
from typing import Any

import pytest

from autosd import yamlfile
from autosd.files import write_json, write_text
from autosd.recipe import StudyDefinition
from autosd.results.retrain_field import controls, field_of, lasting
from autosd.search.finalists import Candidate, default, runs, write_chosen
from autosd.search.records import TrialRecord
from autosd.search.space import Space
from autosd.search.study import StudyFolder
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover

RECIPE = {"data": "digits", "epochs": 4, "seed": 0}


def study(tmp_path: Path, families: str, objective: str = "top1") -> StudyFolder:
    """A folder with a space of some families and a searched learning rate; nothing is trained."""
    space = tmp_path / "mine.yaml"
    rate = "recipe: {optimizer.lr: {log_uniform: [0.03, 0.3], default: 0.1}}"
    space.write_text(f"{rate}\nstrategies: {{{families}}}\n")
    definition = StudyDefinition.parse(
        {"name": "mine", "recipe": RECIPE, "space": str(space), "objective": objective, "seed": 7}
    )
    read = Space.read(space, discover(), check_combination, stages=3)
    return StudyFolder(tmp_path / "mine", definition, read, url="")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return study(tmp_path, "cross_entropy: , mixup: , masd: , cutmix: ")


def trial(folder: StudyFolder, number: int, family: str, value: float, rate: float = 0.1) -> Any:
    """A complete trial at its family's defaults but for the learning rate."""
    params = folder.space.default_params(family, {"optimizer.lr": rate})
    return TrialRecord(
        number=number,
        lineage=number,
        state="complete",
        family=family,
        strategies=(family,),
        params=params,
        value=value,
        curve=(),
        epochs_run=4,
        seconds=1.0,
        origin="default" if rate == 0.1 else "search",
        protected=False,
        why="",
        attributes={"default_of": family} if rate == 0.1 else {},
    )


def confirm(folder: StudyFolder, *scored: tuple[TrialRecord | str, float]) -> None:
    """Write the confirmation of trials (or of a family's default) with these means on select."""
    base = folder.definition.recipe.with_seed(folder.definition.seed)
    candidates = [
        default(folder.space, base, who) if isinstance(who, str) else candidate(folder, who)
        for who, _ in scored
    ]
    for one, (_, score) in zip(candidates, scored, strict=True):
        for run in runs([one], 2):
            place = folder.finalists / run.name
            write_text(place / "recipe.yaml", yamlfile.dumps(run.recipe.mapping()))
            facts = {"label": one.label, "seed": run.recipe.seed, "strategies": [one.family]}
            metrics = {"metrics": {"select": {"top1": score}}, "epochs": 4, "seconds": 1.0}
            write_json(place / "result.json", {**facts, **metrics})
    write_chosen(folder.finalists, candidates, 2, "top1", confirmed=True)


def candidate(folder: StudyFolder, record: TrialRecord) -> Candidate:
    base = folder.definition.recipe.with_seed(folder.definition.seed)
    label = f"{record.family}-{record.lineage:04d}"
    recipe = folder.space.recipe(record.params, base)
    return Candidate(label, record.family, recipe, record.number, record.value)


def shown(folder: StudyFolder, records: list[TrialRecord], top: int = 1) -> list[tuple[str, str]]:
    entries = field_of(folder, records, top)
    return [(entry.label, " ".join(entry.roles)) for entry in entries]


@pytest.fixture
def trials(folder: StudyFolder) -> list[TrialRecord]:
    return [
        trial(folder, 0, "cross_entropy", 0.80),
        trial(folder, 1, "mixup", 0.84),
        trial(folder, 2, "masd", 0.85),
        trial(folder, 3, "cutmix", 0.83),
        trial(folder, 4, "masd", 0.90, 0.2),
        trial(folder, 5, "cutmix", 0.86, 0.2),
    ]


def test_controls_are_those_of_the_shipped_space(folder):
    assert controls(folder) == ["mixup", "cutmix"]


def test_the_winner_comes_with_its_default_the_best_control_and_cross_entropy(folder, trials):
    confirm(folder, (trials[4], 0.88), ("masd", 0.85), ("cross_entropy", 0.81))
    assert shown(folder, trials) == [
        ("masd-0004", "winner"),
        ("masd-default", "default"),
        ("cutmix-0005", "control"),
        ("cross_entropy-tuned", "tuned"),
        ("cross_entropy", "baseline"),
    ]


def test_a_confirmed_control_is_preferred_to_a_better_one_of_the_search(folder, trials):
    scores = [(trials[4], 0.88), ("mixup", 0.84), ("cross_entropy", 0.81)]
    confirm(folder, *scores)
    assert ("mixup-default", "control") in shown(folder, trials)
    entry = next(one for one in field_of(folder, trials, 1) if "control" in one.roles)
    assert (entry.search, entry.confirmed.mean, entry.confirmed.n) == (0.84, 0.84, 2)


def test_without_a_complete_trial_of_a_control_its_default_stands_for_it(folder, trials):
    assert ("mixup-default", "control") in shown(folder, [trials[0], trials[4]])


def test_a_space_without_controls_has_none(tmp_path):
    folder = study(tmp_path, "cross_entropy: , masd: ")
    assert controls(folder) == []
    assert [roles for _, roles in shown(folder, [trial(folder, 0, "masd", 0.9)])] == [
        "winner default",
        "baseline",
    ]


def test_more_recipes_come_in_the_order_of_their_confirmation(folder, trials):
    scores = [
        (trials[4], 0.86),
        (trials[5], 0.88),
        ("masd", 0.87),
        ("cross_entropy", 0.80),
    ]
    confirm(folder, *scores)
    assert shown(folder, trials, top=3) == [
        ("cutmix-0005", "winner control"),
        ("masd-default", "finalist default"),
        ("masd-0004", "finalist"),
        ("cutmix-default", "default"),
        ("cross_entropy-tuned", "tuned"),
        ("cross_entropy", "baseline"),
    ]
    assert len(shown(folder, trials, top=50)) == 6


def test_cross_entropy_stands_first_where_it_won_and_once(folder, trials):
    confirm(folder, ("cross_entropy", 0.9), (trials[4], 0.88))
    assert shown(folder, trials) == [
        ("cross_entropy", "winner baseline"),
        ("cutmix-0005", "control"),
    ]


def test_without_a_confirmation_the_search_ranks(folder, trials):
    assert shown(folder, trials, top=2) == [
        ("masd-0004", "winner"),
        ("cutmix-0005", "finalist control"),
        ("masd-default", "default"),
        ("cutmix-default", "default"),
        ("cross_entropy-tuned", "tuned"),
        ("cross_entropy", "baseline"),
    ]
    assert all(entry.confirmed is None for entry in field_of(folder, trials, 2))


def test_a_loss_is_ranked_from_below(tmp_path):
    folder = study(tmp_path, "cross_entropy: , masd: , mixup: ", objective="nll")
    trials = [
        trial(folder, 0, "cross_entropy", 0.5),
        trial(folder, 1, "masd", 0.3),
        trial(folder, 2, "mixup", 0.4),
        trial(folder, 3, "mixup", 0.6, 0.2),
    ]
    assert shown(folder, trials) == [
        ("masd-default", "winner default"),
        ("mixup-default", "control"),
        ("cross_entropy", "baseline"),
    ]


def test_cross_entropy_is_tuned_as_the_winner_was_and_in_nothing_else(folder, trials):
    confirm(folder, (trials[4], 0.88), ("cross_entropy", 0.81))
    entries = {entry.label: entry for entry in field_of(folder, trials, 1)}
    tuned, plain = entries["cross_entropy-tuned"].recipe, entries["cross_entropy"].recipe
    assert (tuned.optimizer.lr, plain.optimizer.lr) == (0.2, 0.1)
    optimizer = plain.optimizer.model_copy(update={"lr": 0.2})
    assert tuned == plain.model_copy(update={"optimizer": optimizer})


def test_a_winner_that_is_tuned_cross_entropy_stands_once(folder, trials):
    own = trial(folder, 6, "cross_entropy", 0.91, 0.2)
    confirm(folder, (own, 0.9), ("cross_entropy", 0.81))
    first, *others = shown(folder, [*trials, own])
    assert first == ("cross_entropy-0006", "winner tuned")
    assert [label for label, _ in others] == ["cutmix-0005", "cross_entropy"]


def test_recipes_have_the_studys_seed_and_the_score_of_their_trial(folder, trials):
    confirm(folder, (trials[4], 0.88), ("cross_entropy", 0.81))
    entries = {entry.label: entry for entry in field_of(folder, trials, 1)}
    assert {entry.recipe.seed for entry in entries.values()} == {7}
    assert {label: entry.search for label, entry in entries.items()} == {
        "masd-0004": 0.90,
        "masd-default": 0.85,
        "cutmix-0005": 0.86,
        "cross_entropy-tuned": None,
        "cross_entropy": 0.80,
    }


def test_other_epochs_have_labels_and_no_scores_of_others(folder, trials):
    entries = field_of(folder, trials, 1)
    assert lasting(entries, None) == lasting(entries, 4) == entries
    longer = lasting(entries, 9)
    assert {entry.recipe.epochs for entry in longer} == {9}
    assert all(entry.label.endswith("-e9") for entry in longer)
    assert all(entry.search is None and entry.confirmed is None for entry in longer)
