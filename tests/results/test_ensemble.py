"""`autosd ensemble` on a finished study: members, worth, missing weights, the folder it leaves."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import autosd
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import DataSpec
from autosd.results.ensemble import Done, ensemble, objective
from autosd.results.ensemble_selection import softmax
from autosd.results.ensemble_worth import opening
from autosd.results.ensembled import Member, read_ensembled
from autosd.results.found import Found
from autosd.results.statistics import verdict
from autosd.search.study import StudyFolder


def make(root: Path, **options: object) -> Done:
    return ensemble("tiny", root, engine="inline", **{"size": 3, "metric": "nll", **options})


def readings(root: Path) -> list[str]:
    split = json.loads((root / "tiny/split.json").read_text())
    return [reading["who"] for reading in split["test_readings"]]


def without_checkpoints(root: Path) -> Path:
    for path in root.glob("tiny/trials/*/last.pt"):
        path.unlink()
    return root


@pytest.fixture(scope="module")
def kept(found: Found, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with the ensemble of the study `tiny`; not to be changed."""
    runs = tmp_path_factory.mktemp("ensembled")
    shutil.copytree(found.outcome.folder.path, runs / "tiny")
    make(runs)
    return runs


@pytest.fixture
def root(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(kept, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def made(kept: Path):
    """What the folder says of it."""
    return read_ensembled(StudyFolder.find("tiny", kept))


def soup_name(root: Path) -> str:
    """The run that was made only to average its last epochs."""
    (path,) = root.glob("tiny/ensemble/members/*-soup-0")
    return path.name


def evaluated(model: torch.nn.Module, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a part, image by image through `preprocess`, and its labels."""
    images = load_data(DataSpec(name="digits"), with_test=True).part(part)
    batch = torch.stack([model.preprocess(images.images[row]) for row in images.rows])
    with torch.no_grad():
        return softmax(model(batch).numpy()), images.labels


def test_every_student_with_weights_takes_part(kept: Path, made) -> None:
    trials = len(list(kept.glob("tiny/trials/*/last.pt")))
    runs = len(list(kept.glob("tiny/finalists/*/model/model.json")))
    assert (made.candidates, made.finalists, made.left_out) == (trials + runs, runs, 0)


def test_weights_sum_to_one_and_the_heaviest_comes_first(made) -> None:
    weights = [member.weight for member in made.members]
    assert sum(weights) == pytest.approx(1)
    assert weights == sorted(weights, reverse=True)
    assert made.forwards == len(weights) <= made.size == 3
    assert made.relative_cost == pytest.approx(len(weights))


def test_exactly_one_kind_is_chosen_by_its_held_out_score(made) -> None:
    (chosen,) = [kind for kind in made.kinds if kind.chosen]
    assert chosen.kind == made.kind
    assert chosen.members == len(made.members)
    assert chosen.held_out["nll"] == min(
        kind.held_out["nll"] for kind in made.kinds if kind.held_out
    )
    (soup,) = [kind for kind in made.kinds if kind.kind == "soup"]
    assert (soup.held_out, soup.note) == (None, "none kept")


@pytest.mark.parametrize("part", ["select", "test"])
def test_the_loaded_ensemble_scores_what_is_reported(kept: Path, made, part: str) -> None:
    rows, labels = evaluated(autosd.load(kept / "tiny/ensemble"), part)
    scores = made.scores["ensemble"][part]
    assert (rows.argmax(1) == labels).mean() == pytest.approx(scores["top1"])
    nll = -np.log(rows[np.arange(len(labels)), labels]).mean()
    assert nll == pytest.approx(scores["nll"], rel=1e-4)


def test_gains_are_differences_of_the_scores(made) -> None:
    for metric in ("top1", "nll"):
        gain = made.gain(metric)
        own, best = (made.scores[key]["test"][metric] for key in ("ensemble", "best_member"))
        assert gain.difference.mean == pytest.approx(own - best, abs=1e-6)
        assert gain.difference.n == made.images["test"]
        assert gain.verdict == verdict(gain.difference, higher_is_better=metric == "top1")
    assert {gain.part for gain in made.gains} == {"test", "select"}


def test_test_is_read_once_however_often_it_is_asked(root: Path) -> None:
    assert readings(root) == ["ensemble"]
    again = make(root)
    assert not again.fresh
    assert readings(root) == ["ensemble"]


def test_another_choice_is_another_reading(root: Path) -> None:
    assert make(root, size=1).ensemble.kind == "single"
    assert readings(root) == ["ensemble", "ensemble"]
    assert [path.name for path in root.glob("tiny/.ensemble*")] == []
    assert len(list(root.glob("tiny/ensemble/students/*"))) == 1


def test_one_student_is_no_ensemble_and_gains_nothing(root: Path) -> None:
    alone = make(root, size=1).ensemble
    assert "No ensemble did better" in alone.remarks[0]
    assert alone.members[0].name == alone.best_member
    assert {gain.verdict for gain in alone.gains} == {"no difference shown"}
    assert alone.gain("top1").difference.low is None


def test_a_choice_that_ends_at_one_student_is_told_as_that() -> None:
    """The kind won on held-out folds, so that no ensemble did better would be untrue."""
    alone = (Member("masd-0001-0", "masd-0001", 0, "masd", ("masd",), 1, "trial", 1.0),)
    told = opening("greedy", alone, "masd-0001-0")
    assert "No ensemble did better" not in told
    assert "chooses the best student, masd-0001-0" in told
    assert "a single student" in opening("uniform", alone, "toast-0002-0")


def test_a_damaged_ensemble_is_made_anew(root: Path) -> None:
    (weights,) = list(root.glob("tiny/ensemble/students/*/model.safetensors"))[:1]
    weights.write_bytes(b"")
    assert make(root).fresh
    autosd.load(root / "tiny/ensemble")


def test_students_without_weights_are_left_out_aloud(root: Path) -> None:
    before = make(root).ensemble.candidates
    trials = len(list(root.glob("tiny/trials/*/last.pt")))
    less = make(without_checkpoints(root)).ensemble
    assert (less.candidates, less.left_out) == (before - trials, trials)
    assert any(f"{trials} students" in line and "--train-missing" in line for line in less.remarks)


def test_members_are_trained_again_bit_for_bit(root: Path) -> None:
    shutil.rmtree(without_checkpoints(root) / "tiny/finalists")
    done = make(root, train_missing=True, size=2).ensemble
    assert {member.origin for member in done.members} == {"trained again"}
    same = [line for line in done.remarks if "bit for bit in half precision" in line]
    again = {line.split()[0] for line in same}
    assert again == {done.best_member, *(one.name for one in done.members)} - {soup_name(root)}
    (soup,) = [kind for kind in done.kinds if kind.kind == "soup"]
    assert soup.held_out is not None
    later = make(root, train_missing=True, size=2)
    assert not later.fresh


def test_a_member_that_is_not_the_same_again_is_told(root: Path) -> None:
    """As on another processor: the kept logits are shifted a little for everyone."""
    shutil.rmtree(without_checkpoints(root) / "tiny/finalists")
    for path in root.glob("tiny/trials/*/logits.npz"):
        with np.load(path) as kept:
            np.savez(path, **{part: kept[part] * np.float16(1.01) for part in kept.files})
    told = make(root, train_missing=True, size=1).ensemble.remarks
    assert any("is not the same bit for bit" in line and "predictions" in line for line in told)


def test_a_checkpoint_that_cannot_be_used_counts_as_dropped(root: Path) -> None:
    """Damaged, or of a recipe that this version reads otherwise."""
    before = make(root).ensemble
    path = next(root.glob("tiny/trials/*/last.pt"))
    path.write_bytes(path.read_bytes()[:-1])
    after = make(root).ensemble
    assert (after.candidates, after.left_out) == (before.candidates - 1, 1)


def test_the_objective_of_the_study_decides_unless_told(root: Path) -> None:
    folder = StudyFolder.find("tiny", root)
    assert objective(folder) == folder.definition.objective == "top1"
    for asked, used in (("nll", "nll"), ("balanced_accuracy", "top1")):
        other = folder.definition.model_copy(update={"objective": asked})
        assert objective(replace(folder, definition=other)) == used
    assert make(root, metric=None).ensemble.metric == "top1"


def test_without_any_weights_the_way_out_is_named(root: Path) -> None:
    shutil.rmtree(without_checkpoints(root) / "tiny/finalists")
    with pytest.raises(AutosdError, match=r"weights of all .* students are gone; --tr"):
        make(root)


def test_weights_of_another_student_are_noticed(root: Path) -> None:
    models = sorted(root.glob("tiny/finalists/*/model"))
    shutil.rmtree(root / "tiny/ensemble")
    for first, second in zip(models, [*models[1:], models[0]], strict=True):
        shutil.move(first, second.parent / "other")
    for model in models:
        shutil.move(model.parent / "other", model)
    with pytest.raises(AutosdError, match=r"does not predict what .* says of this student"):
        make(without_checkpoints(root))


def test_a_damaged_file_of_logits_is_named(root: Path) -> None:
    path = next(root.glob("tiny/finalists/*/logits.npz"))
    path.write_bytes(b"no archive")
    with pytest.raises(AutosdError, match=r"logits\.npz: not an npz file"):
        make(root)


def test_the_results_are_read_as_they_were_written(kept: Path, made) -> None:
    values = json.loads((kept / "tiny/ensemble/results.json").read_text())
    plain = json.loads(json.dumps(asdict(made)))
    assert plain == {key: values[key] for key in plain}
    card = (kept / "tiny/ensemble/README.md").read_text()
    assert all(member.name in card for member in made.members)
    assert all(line in card for line in made.remarks)


def test_no_path_of_this_machine_is_written(kept: Path) -> None:
    for path in (kept / "tiny/ensemble").rglob("*.*"):
        if path.suffix in (".json", ".md", ".yaml"):
            assert str(kept) not in path.read_text(), path


def test_a_study_without_one_has_none_and_a_broken_file_is_named(root: Path) -> None:
    folder = StudyFolder.find("tiny", root)
    (folder.path / "ensemble/results.json").write_text("{}")
    with pytest.raises(AutosdError, match=r"results\.json: not what autosd writes"):
        read_ensembled(folder)
    shutil.rmtree(folder.path / "ensemble")
    assert read_ensembled(folder) is None
