"""A pickle that runs code when it is loaded, in every place where a file is loaded: it never runs.

The hostile files go as far as they can: an archive with the arrays' right names, a checkpoint with
the right checksum, a YAML tag that names a function.
"""

import hashlib
import io
import json
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .garbling import COMMANDS, STUDY, run


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


def raw(mark: Path) -> bytes:
    return pickle.dumps(Hostile(mark))


def archive(mark: Path) -> bytes:
    """What `torch.save` makes of it."""
    buffer = io.BytesIO()
    torch.save({"format": "autosd checkpoint 1", "identity": Hostile(mark)}, buffer)
    return buffer.getvalue()


def checkpoint(mark: Path) -> bytes:
    """The same with the checksum of a checkpoint."""
    content = archive(mark)
    return content + hashlib.sha256(content).digest()


def arrays(*names: str) -> Callable[[Path], bytes]:
    """An npz file of arrays of objects."""

    def made(mark: Path) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, **dict.fromkeys(names, np.array([Hostile(mark)], dtype=object)))
        return buffer.getvalue()

    return made


def tag(mark: Path) -> bytes:
    return f"name: !!python/object/apply:pathlib.Path.touch\n- {mark}\n".encode()


def tag_new(mark: Path) -> bytes:
    return f"!!python/object/new:builtins.open\nargs: [{mark}, w]\n".encode()


HOSTILE: dict[str, list[Callable[[Path], bytes]]] = {
    "pt": [raw, archive, checkpoint],
    "npz": [raw, archive, arrays("val", "select", "test")],
    "safetensors": [raw, archive],
    "json": [raw, archive],
    "jsonl": [raw],
    "yaml": [raw, tag, tag_new],
    "db": [raw],
}
READERS = ("verify tiny --no-replay", "status tiny", "search tiny --trials 5 --inline")


def plant(folder: Path, kind: str, make: Callable[[Path], bytes], mark: Path) -> int:
    """Put a hostile file in the place of every file of a kind."""
    files = [path for path in folder.rglob(f"*.{kind}") if path.is_file()]
    for path in files:
        path.write_bytes(make(mark))
    return len(files)


def test_the_hostile_files_do_run_code_where_they_are_trusted(tmp_path: Path):
    for number, make in enumerate((raw, archive, arrays("x"))):
        mark = tmp_path / str(number)
        content = make(mark)
        if make is raw:
            pickle.loads(content).close()
        elif make is archive:
            torch.load(io.BytesIO(content), weights_only=False)["identity"].close()
        else:
            np.load(io.BytesIO(content), allow_pickle=True)["x"][0].close()
        assert mark.exists()


def refused(folder: Path, command: str, mark: Path) -> bool:
    """Whether a command ended with a message; that it ran no code in any case."""
    said = run(folder, command)
    assert said.bug is None, (command, said.bug)
    assert not mark.exists(), command
    return said.code != 0


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_pickle_in_a_study_runs(searched: Path, tmp_path: Path, kind: str):
    folder, mark = tmp_path / "work", tmp_path / "mark"
    shutil.copytree(searched, folder)
    assert plant(folder / STUDY, kind, HOSTILE[kind][-1], mark) > 0
    assert refused(folder, "verify tiny --no-replay", mark)
    refused(folder, "status tiny", mark)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_no_pickle_in_a_study_runs_by_any_command(whole: Path, tmp_path: Path, kind: str):
    cases = ended = 0
    for make in HOSTILE[kind]:
        for command in COMMANDS:
            folder, mark = tmp_path / "work", tmp_path / "mark"
            shutil.copytree(whole, folder)
            planted = plant(folder / STUDY, kind, make, mark)
            ended += refused(folder, command, mark)
            cases += planted
            shutil.rmtree(folder)
    print(f"hostile {kind}: {cases} files planted, {ended} commands refused, 0 ran")


@pytest.mark.slow
def test_a_hostile_checkpoint_of_an_interrupted_trial_does_not_run(searched: Path, tmp_path: Path):
    folder, mark = tmp_path / "work", tmp_path / "mark"
    shutil.copytree(searched, folder)
    with closing(sqlite3.connect(folder / STUDY / "study.db")) as database, database:
        database.execute("update trials set state = 'RUNNING', datetime_complete = null "
                         "where number = 1")  # fmt: skip
    (folder / STUDY / "trials/0001/last.pt").write_bytes(checkpoint(mark))
    refused(folder, "search tiny --inline", mark)


def test_attributes_of_a_database_are_read_as_json_alone(searched: Path, tmp_path: Path):
    folder, mark = tmp_path / "work", tmp_path / "mark"
    shutil.copytree(searched, folder)
    with closing(sqlite3.connect(folder / STUDY / "study.db")) as database, database:
        for table in ("trial_system_attributes", "trial_user_attributes", "study_user_attributes"):
            database.execute(f"update {table} set value_json = ?", (raw(mark).decode("latin-1"),))
    for command in READERS:
        assert refused(folder, command, mark)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images of two classes as arrays."""
    path = tmp_path / "data.npz"
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (80, 8, 8), np.uint8)
    labels = np.arange(80) % 2
    np.savez(path, train_images=images, train_labels=labels, test_images=images[:20],
             test_labels=labels[:20])  # fmt: skip
    return path


def recipe(folder: Path, **keys: object) -> None:
    values = {"data": "npz:data.npz", "model": "resnet8", "epochs": 1, "batch_size": 32, **keys}
    (folder / "recipe.yaml").write_text(json.dumps(values))


NPZ = ("train_images", "train_labels", "test_images", "test_labels", "label_names")


@pytest.mark.parametrize("make", [raw, archive, arrays(*NPZ), arrays("label_names")])
def test_no_pickle_in_data_runs(data: Path, tmp_path: Path, make: Callable[[Path], bytes]):
    mark = tmp_path / "mark"
    data.write_bytes(make(mark))
    recipe(tmp_path)
    assert refused(tmp_path, "train recipe.yaml --out out --test", mark)
    assert refused(tmp_path, "inspect npz:data.npz", mark)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_no_pickle_in_a_model_to_start_from_runs(
    searched: Path, data: Path, tmp_path: Path, name: str
):
    mark = tmp_path / "mark"
    for make in HOSTILE[name.partition(".")[2]]:
        shutil.copytree(searched / STUDY / "best", tmp_path / "model", dirs_exist_ok=True)
        (tmp_path / "model" / name).write_bytes(make(mark))
        recipe(tmp_path, init="model", data="digits")
        assert refused(tmp_path, "train recipe.yaml --out out", mark)
        assert refused(tmp_path, "predict model data.npz", mark)


def test_no_pickle_in_a_table_of_soft_labels_runs(data: Path, tmp_path: Path):
    mark = tmp_path / "mark"
    for make in HOSTILE["safetensors"]:
        (tmp_path / "table.safetensors").write_bytes(make(mark))
        recipe(
            tmp_path, strategies=[{"soft_labels": {"file": str(tmp_path / "table.safetensors")}}]
        )
        assert refused(tmp_path, "train recipe.yaml --out out", mark)


@pytest.mark.slow
def test_no_pickle_in_the_cache_of_decoded_images_runs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mark, cache = tmp_path / "mark", tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    recipe(tmp_path, data={"name": "npz:data.npz", "image_size": 16})
    assert not refused(tmp_path, "train recipe.yaml --out first", mark)
    buffer = io.BytesIO()
    np.save(buffer, np.array([Hostile(mark)] * 60, dtype=object))
    for content in (raw(mark), buffer.getvalue()):
        files = [path for path in cache.rglob("*.npy") if path.is_file()]
        assert files
        for path in files:
            path.write_bytes(content)
        assert not refused(tmp_path, f"train recipe.yaml --out {len(content)}", mark)


def test_no_pickle_in_a_known_set_runs(tmp_path: Path):
    mark, root = tmp_path / "mark", tmp_path / "data/cifar-10-batches-py"
    root.mkdir(parents=True)
    names = [f"data_batch_{number}" for number in range(1, 6)]
    for name in (*names, "test_batch", "batches.meta"):
        (root / name).write_bytes(raw(mark))
    recipe(tmp_path, data={"name": "cifar10", "root": str(tmp_path / "data")})
    assert refused(tmp_path, "train recipe.yaml --out out", mark)


RUN_A_MODEL = (
    "predict tiny picture.png",
    "ensemble tiny --inline",
    "autosd.load best",
)


def test_a_model_names_no_code_that_is_run(searched: Path, tmp_path: Path):
    folder, mark = tmp_path / "work", tmp_path / "mark"
    shutil.copytree(searched, folder)
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    for path in (folder / STUDY).rglob("model.json"):
        values = json.loads(path.read_text())
        path.write_text(json.dumps({**values, "model": f"{folder}/evil.py:Net"}))
    for command in RUN_A_MODEL:
        assert refused(folder, command, mark)
