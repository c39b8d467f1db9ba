"""An ensemble's folder: one network that predicts the mean, and nothing but its own files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import autosd
from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.recipe import ModelSpec
from autosd.training.ensemble import Share, load_ensemble, write_ensemble
from autosd.training.export import export_student, load_student

SHAPE = (1, 8, 8)
NAMES = ("no", "yes", "</script>")
WEIGHTS = {"first-0": 0.5, "second-1": 0.3, "third-2": 0.2}


def exported(folder: Path, seed: int, **changes: object) -> Path:
    student = build_student(ModelSpec(name="resnet8"), len(NAMES), SHAPE, seed)
    about = {"class_names": NAMES, "mean": (0.3,), "std": (0.4,), "details": {}, **changes}
    export_student(folder, student, model="resnet8", **about)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Share]:
    """Three exported students with weights; not to be changed."""
    folder = tmp_path_factory.mktemp("students")
    return [
        Share(name, exported(folder / name, seed), weight)
        for seed, (name, weight) in enumerate(WEIGHTS.items())
    ]


@pytest.fixture
def ensemble(sources: list[Share], tmp_path: Path) -> Path:
    """The folder of an ensemble of them."""
    folder = tmp_path / "ensemble"
    folder.mkdir()
    write_ensemble(folder, sources, {"study": "s"})
    return folder


def change(folder: Path, **values: object) -> None:
    """Overwrite keys of `model.json`."""
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def with_member(folder: Path, position: int, **values: object) -> None:
    members = json.loads((folder / "model.json").read_text())["members"]
    members[position] |= values
    change(folder, members=members)


def test_its_softmax_is_the_weighted_mean_of_the_members(ensemble, sources) -> None:
    model = autosd.load(ensemble)
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0)) * 3
    with torch.no_grad():
        found = model(images)
        rows = [load_student(one.source)(images).double().softmax(1) for one in sources]
    expected = sum(share * row for share, row in zip(WEIGHTS.values(), rows, strict=True))
    torch.testing.assert_close(found.double().softmax(1), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(5))
    assert isinstance(model, torch.nn.Module)
    assert not model.training


def test_it_has_the_classes_and_the_preprocessing_of_its_members(ensemble) -> None:
    model = autosd.load(ensemble)
    assert model.class_names == NAMES
    image = model.preprocess(np.zeros((8, 8), dtype=np.uint8))
    assert image.shape == SHAPE
    assert model(image[None]).shape == (1, len(NAMES))


def test_a_certain_member_gives_no_infinities(ensemble) -> None:
    model = load_ensemble(ensemble)
    for member in model.members:
        member.head.bias.data[0] = 1e4
    assert torch.isfinite(model(torch.zeros(1, *SHAPE))).all()


def test_a_copied_folder_loads_and_a_student_still_does(ensemble, sources, tmp_path) -> None:
    shutil.copytree(ensemble, tmp_path / "elsewhere")
    shutil.rmtree(ensemble)
    autosd.load(tmp_path / "elsewhere")
    assert autosd.load(sources[0].source).class_names == NAMES


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_a_member_that_was_changed_is_refused(ensemble: Path, file: str) -> None:
    path = ensemble / "students/second-1" / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(AutosdError, match=rf"second-1/{file}: not the file that .* \(sha256"):
        autosd.load(ensemble)


def test_a_member_that_is_missing_is_named(ensemble: Path) -> None:
    (ensemble / "students/third-2/model.safetensors").unlink()
    with pytest.raises(AutosdError, match=r"third-2/model\.safetensors: cannot be read"):
        autosd.load(ensemble)


@pytest.mark.parametrize("name", ["../../outside", "/etc", "a/b", "..", ".", "", "A b", "x\n"])
def test_a_name_that_leads_elsewhere_is_refused(ensemble: Path, name: str) -> None:
    with_member(ensemble, 0, name=name)
    with pytest.raises(AutosdError, match=r"no description of an ensemble \(members\.0\.name"):
        autosd.load(ensemble)


def test_a_link_out_of_the_folder_is_refused(ensemble: Path, sources: list[Share]) -> None:
    place = ensemble / "students/first-0"
    shutil.rmtree(place)
    place.symlink_to(sources[0].source)
    with pytest.raises(AutosdError, match="leads out of"):
        autosd.load(ensemble)


def test_a_link_of_a_file_out_of_the_folder_is_not_even_read(ensemble: Path) -> None:
    file = ensemble / "students/first-0/model.safetensors"
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(AutosdError, match=r"first-0/model\.safetensors: leads out of"):
        autosd.load(ensemble)


@pytest.mark.parametrize("weight", [0.6, 0.4])
def test_weights_that_do_not_sum_to_one_are_refused(ensemble: Path, weight: float) -> None:
    with_member(ensemble, 0, weight=weight)
    with pytest.raises(AutosdError, match="have to sum to 1"):
        autosd.load(ensemble)


@pytest.mark.parametrize("weight", [0, -0.5, float("nan"), 2])
def test_a_weight_that_is_no_share_is_refused(ensemble: Path, weight: float) -> None:
    with_member(ensemble, 0, weight=weight)
    with pytest.raises(AutosdError, match=r"members\.0\.weight"):
        autosd.load(ensemble)


def test_a_member_twice_is_refused(ensemble: Path) -> None:
    members = json.loads((ensemble / "model.json").read_text())["members"]
    change(ensemble, members=[members[0], {**members[0], "weight": 0.5}])
    with pytest.raises(AutosdError, match="different members"):
        autosd.load(ensemble)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"class_names": ("no", "yes", "perhaps")}, "class_names"),
        ({"mean": (0.1,)}, "mean"),
    ],
)
def test_members_of_different_data_are_refused(sources, tmp_path, changes, key) -> None:
    stranger = Share("stranger", exported(tmp_path / "s", 7, **changes), 0.5)
    (tmp_path / "e").mkdir()
    write_ensemble(tmp_path / "e", [Share("first-0", sources[0].source, 0.5), stranger], {})
    with pytest.raises(AutosdError, match=f"stranger: has another {key} than"):
        autosd.load(tmp_path / "e")


def test_a_hash_for_every_file_is_required(ensemble: Path) -> None:
    with_member(ensemble, 0, sha256={"model.json": "0"})
    with pytest.raises(AutosdError, match=r"members\.0\.sha256"):
        autosd.load(ensemble)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "autosd ensemble 9"}'])
def test_what_is_no_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(AutosdError, match=r"model\.json"):
        autosd.load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match=r"model\.json: cannot be read"):
        autosd.load(tmp_path)
