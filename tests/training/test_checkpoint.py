"""Training states: whole, ours, and never code."""

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.recipe import DataSpec, Recipe
from autosd.training.checkpoint import CheckpointUnreadable
from autosd.training.trainer import Trainer

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def saved(recipe: MakeRecipe, digits: Data, tmp_path: Path) -> Path:
    """The checkpoint of one epoch."""
    trainer = Trainer(recipe(), digits, checkpoint=tmp_path / "last.pt")
    next(trainer.epochs())
    trainer.save()
    return tmp_path / "last.pt"


def signed(path: Path) -> None:
    """Append the checksum that a whole file ends with."""
    content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).digest())


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a checkpoint and leave it whole."""
    state = torch.load(io.BytesIO(path.read_bytes()[:-32]), weights_only=True)
    change(state)
    torch.save(state, path)
    signed(path)


def refused(recipe: Recipe, data: Data, path: Path, **options: tuple[str, ...]) -> str:
    """The message with which the checkpoint is refused."""
    with pytest.raises(CheckpointUnreadable) as caught:
        Trainer(recipe, data, checkpoint=path, **options)
    assert str(path) in str(caught.value)
    assert "Remove the file" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(
    recipe: MakeRecipe, digits: Data, saved: Path, share: float
) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "damaged or foreign" in refused(recipe(), digits, saved)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_changed_byte_is_noticed(
    recipe: MakeRecipe, digits: Data, saved: Path, share: float
) -> None:
    content = bytearray(saved.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    saved.write_bytes(bytes(content))
    refused(recipe(), digits, saved)


def test_garbage_is_refused(recipe: MakeRecipe, digits: Data, saved: Path) -> None:
    saved.write_bytes(b"not a checkpoint" * 100)
    refused(recipe(), digits, saved)


def test_a_folder_is_refused(recipe: MakeRecipe, digits: Data, tmp_path: Path) -> None:
    refused(recipe(), digits, tmp_path)


def test_a_foreign_file_is_refused(recipe: MakeRecipe, digits: Data, saved: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, saved)
    assert "checksum" in refused(recipe(), digits, saved)
    signed(saved)
    assert "no checkpoint" in refused(recipe(), digits, saved)


class Hostile:
    """Unpickling it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_pickle_is_not_executed(
    recipe: MakeRecipe, digits: Data, saved: Path, tmp_path: Path, protocol: int
) -> None:
    for write in (
        lambda: torch.save({"format": Hostile(tmp_path / "owned")}, saved),
        lambda: saved.write_bytes(pickle.dumps(Hostile(tmp_path / "owned"), protocol)),
    ):
        write()
        signed(saved)
        refused(recipe(), digits, saved)
        assert not (tmp_path / "owned").exists()


def test_another_recipe_is_refused(recipe: MakeRecipe, digits: Data, saved: Path) -> None:
    assert "recipe" in refused(recipe(optimizer={"lr": 0.05}), digits, saved)


def test_another_split_is_refused(recipe: MakeRecipe, saved: Path) -> None:
    split = {"seed": 1, "val": 300, "select": 900}
    other = load_data(DataSpec(name="digits", split=split))
    assert "data" in refused(recipe(), other, saved)


def test_other_training_parts_are_refused(recipe: MakeRecipe, digits: Data, saved: Path) -> None:
    assert "train_on" in refused(recipe(), digits, saved, train_on=("train", "val"))


def test_a_state_of_other_networks_is_refused(
    recipe: MakeRecipe, digits: Data, saved: Path
) -> None:
    rewrite(saved, lambda state: state["student"].popitem())
    assert "does not fit" in refused(recipe(), digits, saved)


def test_another_precision_goes_on_and_is_said(
    recipe: MakeRecipe, digits: Data, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(saved, lambda state: state["record"].update(precision="bf16"))
    with caplog.at_level("WARNING"):
        trainer = Trainer(recipe(), digits, checkpoint=saved)
    assert len(trainer.history) == 1
    assert "bf16" in caplog.text
