"""Scores of a model: the ones its study has, and a true word on which images they are of."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

import autosd
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import DataSpec
from autosd.results.evaluate import Evaluated, evaluate, wilson_interval
from autosd.results.evaluate_data import choose
from autosd.results.model import open_model, origin

from .small_model import write_student


def scored(
    given: str | Path, root: Path, part: str = "test", data: str | None = None, **sets: object
) -> Evaluated:
    """Evaluate a model; `split_seed=1` is `data.split.seed`."""
    model = open_model(str(given), root)
    named = {f"data.{key.replace('_', '.', 1)}": value for key, value in sets.items()}
    chosen = choose(model, origin(model), part, given=data, sets=named, root=root)
    return evaluate(model, chosen)


def readings(study: Path) -> list[dict[str, str]]:
    return json.loads((study / "split.json").read_text())["test_readings"]


@pytest.mark.parametrize("part", ["val", "select"])
def test_the_scores_are_those_that_the_study_has(root: Path, part: str) -> None:
    known = json.loads((root / "tiny/best/metrics.json").read_text())["metrics"][part]
    done = scored("tiny", root, part)
    assert done.metrics == pytest.approx(known, abs=1e-6)
    assert (done.images, done.recorded, readings(root / "tiny")) == (500, None, [])
    assert done.split == "divided off the data set class by class, with split seed 0"
    assert "chose" in done.warnings[0] if part == "val" else "chosen" in done.warnings[0]


def test_classes_and_confusions_are_counted(root: Path) -> None:
    done = scored("tiny", root)
    student = autosd.load(root / "tiny/best")
    part = load_data(DataSpec(name="digits"), with_test=True).part("test")
    images = torch.stack([student.preprocess(part.images[row]) for row in part.rows])
    with torch.no_grad():
        predicted = student(images).argmax(1).numpy()
    assert np.array_equal(done.confusion, reference.confusion_matrix(part.labels, predicted))
    recalls = reference.recall_score(part.labels, predicted, average=None, zero_division=0)
    assert [row["recall"] for row in done.classes()] == pytest.approx(recalls)
    assert done.metrics["balanced_accuracy"] == pytest.approx(recalls.mean())
    pairs = done.confused(3)
    assert pairs[0]["images"] == max(done.confusion[~np.eye(10, dtype=bool)])
    assert [pair["images"] for pair in pairs] == sorted((p["images"] for p in pairs), reverse=True)
    assert all(pair["class"] != pair["taken_for"] for pair in pairs)


def test_readings_of_the_studys_test_are_on_record(root: Path) -> None:
    first, second = scored("tiny", root), scored("tiny", root, "all", "digits")
    assert [first.readings, second.readings] == [1, 2]
    assert first.recorded == root / "tiny/split.json"
    assert [reading["who"] for reading in readings(root / "tiny")] == ["evaluate best"] * 2
    assert first.warnings == ()
    assert second.images == 1797
    assert "trained on some of these images" in second.warnings[0]


def test_another_split_of_the_same_data_is_said(root: Path) -> None:
    done = scored("tiny", root, split_seed=1)
    assert done.split.endswith("split seed 1")
    assert "another split" in done.warnings[0]
    assert len(readings(root / "tiny")) == 1


def test_images_that_were_trained_on_are_called_so(root: Path) -> None:
    assert "trained on these images" in scored("tiny", root, "train").warnings[0]


def write_arrays(path: Path, names: list[str], *, shift: int = 0) -> Path:
    """Forty digits of each part as an npz file; class `k` is called `names[k]`."""
    part = load_data(DataSpec(name="digits")).part("select")
    images, labels = part.images[part.rows][..., 0], part.labels
    np.savez(
        path,
        train_images=images[:200],
        train_labels=(labels[:200] + shift) % 10,
        test_images=images[200:300],
        test_labels=(labels[200:300] + shift) % 10,
        label_names=np.array(names),
    )
    return path


def test_classes_are_matched_by_name_in_any_order(root: Path, tmp_path: Path) -> None:
    names = [str(digit) for digit in range(10)]
    usual = write_arrays(tmp_path / "usual.npz", names)
    turned = write_arrays(tmp_path / "turned.npz", names[-3:] + names[:-3], shift=3)
    one, other = (scored("tiny", root, data=f"npz:{path}") for path in (usual, turned))
    assert one.metrics == other.metrics
    assert np.array_equal(one.confusion, other.confusion)
    assert one.split == "the data set's own test part"
    assert (one.images, one.recorded, one.warnings) == (100, None, ())
    assert readings(root / "tiny") == []
    assert scored("tiny", root, "all", f"npz:{usual}").images == 300


def test_other_classes_are_refused_and_named(root: Path, tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "other.npz", [*"012345678", "nine"])
    with pytest.raises(AutosdError, match=r"model has '9', which the data set lacks.* has 'nine'"):
        scored("tiny", root, data=f"npz:{path}")


@pytest.mark.parametrize(
    ("part", "sets", "fault"),
    [
        ("tset", {}, "no part named 'tset'; there are: all, .*Did you mean 'test'"),
        ("val", {"image_size": 9}, "data.image.size|data.image_size: the size"),
        ("val", {"splitt": 9}, "splitt: unknown key"),
    ],
)
def test_what_cannot_be_asked_is_refused(root: Path, part: str, sets: dict, fault: str) -> None:
    model = open_model("tiny", root)
    named = {f"data.{key}": value for key, value in sets.items()}
    with pytest.raises(AutosdError, match=fault):
        choose(model, origin(model), part, given=None, sets=named, root=root)
    assert readings(root / "tiny") == []


def test_a_model_that_knows_no_data_needs_some(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "m")
    with pytest.raises(AutosdError, match="--data is missing"):
        scored(folder, tmp_path)
    done = scored(folder, tmp_path, data="digits")
    assert (done.images, done.recorded, done.readings) == (297, None, None)


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "m", shape=(3, 8, 8))
    with pytest.raises(AutosdError, match=r"images of 8 x 8 x 1 .* takes 8 x 8 x 3"):
        scored(folder, tmp_path, data="digits")


def test_a_model_outside_of_a_study_keeps_its_own_record(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "m", trained_on=["train"])
    (folder / "recipe.yaml").write_text("data: digits\n")
    assert scored(folder, tmp_path).recorded == folder / "split.json"
    assert len(readings(folder)) == 1
    assert "trained on these images" in scored(folder, tmp_path, "train").warnings[0]


def test_a_reading_that_cannot_be_put_on_record_is_said(root: Path) -> None:
    (root / "tiny/split.json").unlink()
    (root / "tiny/split.json").mkdir()
    done = scored("tiny", root)
    assert (done.recorded, done.readings, done.images) == (None, None, 297)
    assert "not on record" in done.warnings[0]


def test_the_interval_is_wilsons() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_a_study_stands_for_its_best(root: Path) -> None:
    best = root / "tiny/best"
    for given in ("tiny", "tiny/best", str(root / "tiny"), str(best)):
        assert open_model(given, root).folder.samefile(best)
    (best / "model.json").unlink()
    with pytest.raises(AutosdError, match=r"best/model\.json: is missing.*put back a copy"):
        open_model("tiny", root)
    shutil.rmtree(best)
    with pytest.raises(AutosdError, match=r"has no best/ yet"):
        open_model("tiny", root)
    with pytest.raises(AutosdError, match=r"no model or study 'tini'.*Did you mean 'tiny'"):
        open_model("tini", root)
    with pytest.raises(AutosdError, match=r"no model here"):
        open_model(str(root), root)
