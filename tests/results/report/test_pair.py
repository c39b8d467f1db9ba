"""Two studies side by side: what is claimed of their difference, and when nothing is."""

import json
import shutil
from pathlib import Path

import pytest

from autosd.files import write_json
from autosd.results.report.embed import html
from autosd.results.report.pair import Pair
from autosd.results.report.pair_page import figures_of, pair_page
from autosd.results.statistics import paired_difference
from autosd.search.study import StudyFolder

from .browse import Seen, parsed
from .test_page import NOW
from .told import SCORES, confirm, story, told

HIGHER = {**SCORES, "masd-default": (0.89, 0.90, 0.88)}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A confirmed study; not to be changed."""
    return told(tmp_path_factory.mktemp("first"), trials=12)


@pytest.fixture
def two(known: StudyFolder, tmp_path: Path) -> tuple[StudyFolder, StudyFolder]:
    """Two copies of it in different places; the second one's masd scored higher."""
    folders = []
    for place in ("one", "two"):
        shutil.copytree(known.path, tmp_path / place / "hand")
        folders.append(StudyFolder.open(tmp_path / place / "hand"))
    shutil.rmtree(folders[1].finalists)
    confirm(folders[1], HIGHER)
    return folders[0], folders[1]


def paired(two: tuple[StudyFolder, StudyFolder]) -> Pair:
    return Pair.of(story(two[0]), story(two[1]))


def seen(pair: Pair) -> Seen:
    return parsed(html(pair_page(pair, figures_of(pair), NOW)))


def test_with_the_same_data_and_seeds_winners_are_paired_by_seed(
    two: tuple[StudyFolder, StudyFolder],
) -> None:
    pair = paired(two)
    assert pair.difference == paired_difference((0.89, 0.90, 0.88), (0.85, 0.87, 0.84))
    assert pair.sentence.startswith(
        "masd-default of hand (second) is better than masd-default of hand (first): +3.7 points"
    )
    words = seen(pair).words
    assert pair.sentence in words
    assert "85.3 ± 1.5 % (3 seeds) on select 89.0 ± 1.0 % (3 seeds) on select" in words
    assert "cross_entropy 80.0 ± 1.0 % 80.0 ± 1.0 % +0.0 none none shown" in words


def test_both_searches_are_laid_over_each_other(two: tuple[StudyFolder, StudyFolder]) -> None:
    shown = seen(paired(two))
    for name in ("pair_by_trials", "pair_by_compute"):
        traces = shown.data[name]["data"]
        assert [trace["name"] for trace in traces] == ["hand (first)", "hand (second)"]
        assert traces[0]["y"] == sorted(traces[0]["y"])
    axis = shown.data["pair_by_compute"]["layout"]["xaxis"]
    assert axis["title"]["text"] == "image passes"


def test_other_data_are_refused_with_the_reason(two: tuple[StudyFolder, StudyFolder]) -> None:
    path = two[1].path / "split.json"
    split = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**split, "fingerprint": "another"})
    pair = paired(two)
    assert pair.difference is None
    assert "is claimed: their data or the division into parts differ" in pair.sentence
    assert all(one.difference is None for one in pair.both)
    words = seen(pair).words
    assert "Differences are left out: their data" in words
    assert "fingerprint of data and division 0123456789abcdef another" in words


def test_unknown_data_are_refused_too(two: tuple[StudyFolder, StudyFolder]) -> None:
    (two[0].path / "split.json").unlink()
    pair = paired(two)
    assert "it is not known which data" in pair.sentence
    assert "split.json is missing" in seen(pair).words


def test_scores_of_another_kind_are_refused(two: tuple[StudyFolder, StudyFolder]) -> None:
    path = two[1].path / "study.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("objective: top1", "objective: balanced_accuracy"))
    assert "one is scored by top1, the other by balanced_accuracy" in paired(two).sentence


def test_without_a_common_seed_nothing_is_claimed(two: tuple[StudyFolder, StudyFolder]) -> None:
    for path in two[1].finalists.rglob("result.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {**values, "seed": values["seed"] + 500})
    chosen = json.loads((two[1].finalists / "chosen.json").read_text(encoding="utf-8"))
    for entry in chosen["finalists"]:
        entry["seeds"] = [seed + 500 for seed in entry["seeds"]]
    write_json(two[1].finalists / "chosen.json", chosen)
    pair = paired(two)
    assert pair.difference is None
    assert "no seed in common" in pair.sentence


def test_an_unconfirmed_study_is_held_against_nothing(
    two: tuple[StudyFolder, StudyFolder],
) -> None:
    shutil.rmtree(two[0].finalists)
    assert "hand is not confirmed" in paired(two).sentence


def test_what_differs_is_listed(two: tuple[StudyFolder, StudyFolder]) -> None:
    path = two[1].path / "space.yaml"
    text = path.read_text(encoding="utf-8")
    assert "0.75" in text
    path.write_text(text.replace("[0.0, 0.75]", "[0.0, 0.5]"), encoding="utf-8")
    path = two[1].path / "study.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("lr: 0.1", "lr: 0.05"))
    changes = {one.what: (one.first, one.second) for one in paired(two).changes}
    assert changes["recipe.optimizer.lr"] == ("0.1", "0.05")
    assert changes["space: masd: knobs.masd.mask_ratio.uniform"] == ("[0.0, 0.75]", "[0.0, 0.5]")
    assert len(changes) == 3
    assert "recipe.optimizer.lr 0.1 0.05" in seen(paired(two)).words
