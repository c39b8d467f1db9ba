"""A study is opened as a whole; whatever is damaged is named, and nothing is written."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from autosd.errors import AutosdError
from autosd.results.verify import Verified, verify


def snapshot(study: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {
        path.relative_to(study).as_posix(): path.read_bytes()
        for path in sorted(study.rglob("*"))
        if path.is_file()
    }


def look(root: Path) -> Verified:
    return verify("tiny", root, replays=False)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def first(study: Path, pattern: str) -> Path:
    return sorted(study.glob(pattern))[0]


def execute(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            assert connection.execute(statement).rowcount > 0
        connection.close()

    return change


def test_a_finished_study_is_whole_and_stays_as_it_is(root):
    before = snapshot(root / "tiny")
    found = look(root)
    assert found.faults == []
    assert found.whole
    assert found.counts is not None
    assert found.counts.counted == found.planned == 4
    assert found.checked["trials"] == 4
    assert found.checked["runs of lists"] >= 4
    assert snapshot(root / "tiny") == before


NO_POINT = "delete from trial_intermediate_values where step = 1"
DAMAGE = {
    "definition": [("study.yaml", edit("resnet8", "resnet14"), "study.yaml")],
    "typo": [("study.yaml", edit("trials: 4", "trails: 4"), "study.yaml")],
    "space": [("space.yaml", cut, "study.yaml")],
    "database cut": [("study.db", cut, "storage")],
    "database gone": [("study.db", Path.unlink, "storage")],
    "changed": [
        ("environment.json", cut, "environment.json"),
        ("trials/0001/recipe.yaml", edit("epochs: 1", "epochs: 2"), "trials/0001/recipe.yaml"),
        ("trials/0001/history.jsonl", edit('"top1": 0.', '"top1": 0.0'), "trials/0001/history"),
        ("trials/*/last.pt", flip, "trials/0000/last.pt"),
        (
            "finalists/*/result.json",
            edit('"top1": 0.', '"top1": 7.'),
            "finalists/cross_entropy-1000",
        ),
        ("finalists/*/model/model.safetensors", flip, "finalists/cross_entropy-1000/model"),
        ("study.db", execute("update trial_values set value = 0.5"), "trial 0"),
        ("best/model.safetensors", flip, "best/model.safetensors"),
    ],
    "cut": [
        ("split.json", edit('"fingerprint": "', '"fingerprint": "f'), "split.json"),
        ("trials/0001/history.jsonl", cut, "trials/0001/history.jsonl"),
        ("trials/*/logits.npz", cut, "trials/0000/logits.npz"),
        ("finalists/chosen.json", cut, "finalists/chosen.json"),
        ("finalists/*/result.json", cut, "finalists/cross_entropy-1000/result.json"),
        ("study.db", execute(NO_POINT), "trial 0"),
        ("best/metrics.json", Path.unlink, "best/metrics.json"),
    ],
    "gone": [
        ("trials/0000", shutil.rmtree, "trials/0000"),
        ("study.db", execute("delete from trials where number = 3"), "trials/0003"),
        ("finalists/cross_entropy-1000", shutil.rmtree, "finalists/cross_entropy-1000"),
        (
            "finalists/*1001/recipe.yaml",
            edit("seed: 1001", "seed: 1002"),
            "finalists/cross_entropy",
        ),
        ("best", shutil.rmtree, "best"),
    ],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_everything_that_is_damaged_is_named_with_what_helps(root, kind):
    for pattern, damage, _ in DAMAGE[kind]:
        damage(first(root / "tiny", pattern))
    before = snapshot(root / "tiny")
    found = look(root)
    assert not found.whole
    for _, _, where in DAMAGE[kind]:
        assert any(fault.where.startswith(where) for fault in found.faults), (where, found.faults)
    assert all(fault.todo and "\n" not in str(fault) for fault in found.faults)
    after = snapshot(root / "tiny")
    assert {name: after[name] for name in before} == before


FORMS = {
    "environment.json": [b"[]"],
    "split.json": [b"[]", b'{"counts": 3, "test_readings": [1]}'],
    "finalists/chosen.json": [b"{}", b"[]", b'{"finalists": [{}]}'],
    "finalists/cross_entropy-1000/result.json": [b"[]", b'{"metrics": 3}'],
    "finalists/cross_entropy-1000/model/model.json": [b'{"members": [1]}'],
    "best/model.json": [b'{"members": [{}]}'],
    "best/metrics.json": [b"[]", b"{}"],
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_of_another_form_is_a_fault_and_ends_nothing(root, name):
    for content in FORMS[name]:
        (root / "tiny" / name).write_bytes(content)
        assert name in {fault.where for fault in look(root).faults} | {
            f"{fault.where}/metrics.json" for fault in look(root).faults if fault.where == "best"
        }


def test_a_reading_of_test_that_is_not_on_record_is_a_fault(root):
    run = root / "tiny/ensemble/distilled/soft_labels-2000"
    shutil.copytree(root / "tiny/finalists/cross_entropy-1000", run)
    (run / "job.json").unlink()
    assert "ensemble/distilled/soft_labels-2000" in look(root).faults[0].what


def test_a_trial_of_a_folder_alone_is_named(root):
    shutil.copytree(root / "tiny/trials/0001", root / "tiny/trials/0077")
    assert [fault.where for fault in look(root).faults] == ["trials/0077"]


def test_a_trial_that_was_running_when_its_driver_died_is_no_fault(root):
    execute("update trials set state = 'RUNNING' where number = 3")(root / "tiny/study.db")
    found = look(root)
    assert found.whole
    assert any("were running when their driver died" in note for note in found.notes)


def test_the_cheapest_trial_gives_the_same_curve_again(root):
    found = verify("tiny", root)
    assert found.replayed is not None
    assert found.replayed.equal
    assert found.whole


def test_a_curve_that_cannot_be_repeated_is_a_fault(root):
    for path in (root / "tiny/trials").glob("*/history.jsonl"):
        record = json.loads(path.read_text())
        record["train"]["loss"] += 1e-9
        path.write_text(json.dumps(record) + "\n")
    found = verify("tiny", root)
    assert found.replayed is not None
    assert not found.replayed.equal
    assert "epoch 1: train.loss is" in found.faults[0].what


def test_data_that_are_gone_are_a_fault_and_end_nothing(root):
    path = root / "tiny/study.yaml"
    edit("name: digits", "name: npz:gone.npz")(path)
    faults = {fault.where: fault.what for fault in look(root).faults}
    assert "no such file" in faults["data"]


def test_no_study_and_no_such_trial_are_the_users_fault(root):
    with pytest.raises(AutosdError, match="no study 'tinny'"):
        verify("tinny", root)
    with pytest.raises(AutosdError, match="--replay 99: no complete trial; there are: 0"):
        verify("tiny", root, replay=99)
