"""Soft labels: the formula by hand, the table and its faults, and the loop around them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from autosd.errors import AutosdError
from autosd.models.student import Activations
from autosd.strategies.soft_labels import SoftLabels, table_bytes
from autosd.strategies.strategy import Targets

from .conformance import digits, recipe_for, trained, trainer_for
from .synthetic import TinyStudent, batch_of, clock, run_spec

LABELS = [0, 1, 2, 1]


def table_of(folder: Path, rows: torch.Tensor, labels: list[int] | None = None) -> str:
    content = table_bytes(rows, torch.tensor(labels or LABELS))
    (folder / "t.safetensors").write_bytes(content)
    return "t.safetensors"


def built(folder: Path, labels: list[int] | None = None, **knobs: object) -> SoftLabels:
    run = replace(run_spec(3, labels or LABELS, 2), root=folder)
    return SoftLabels(SoftLabels.Knobs(**knobs), TinyStudent(), run)


def loss(strategy: SoftLabels, logits: torch.Tensor, labels: list[int], index: list[int]) -> float:
    """The whole loss of a step, supervised term included."""
    targets, batch = Targets(torch.tensor(labels)), batch_of(labels, index)
    terms = strategy.losses(Activations(logits, (), logits), targets, batch, TinyStudent(), clock())
    return float(targets.cross_entropy(logits).mean() + sum(terms.values()))


def test_the_loss_is_the_formula_written_out(tmp_path: Path) -> None:
    rows = torch.log_softmax(torch.tensor([[1.0, 0, 2], [0, 3, 1], [2, 2, 0], [0, 0, 5]]), 1)
    strategy = built(tmp_path, file=table_of(tmp_path, rows), temperature=2.0, weight=0.3)
    logits, labels, index = torch.tensor([[0.5, -1.0, 2.0], [1.0, 1.0, 0.0]]), [2, 1], [2, 3]
    expected = 0.0
    for row, label, place in zip(logits.tolist(), labels, index, strict=True):
        shares = [math.exp(z) for z in row]
        hard = -math.log(shares[label] / sum(shares))
        teacher = [math.exp(float(t) / 2) for t in rows[place]]
        student = [math.exp(z / 2) for z in row]
        soft = sum(
            t / sum(teacher) * math.log((t / sum(teacher)) / (s / sum(student)))
            for t, s in zip(teacher, student, strict=True)
        )
        expected += (0.7 * hard + 0.3 * 4 * soft) / 2
    assert loss(strategy, logits, labels, index) == pytest.approx(expected, rel=1e-6)


def test_a_student_that_agrees_with_its_teacher_has_only_the_labels_left(tmp_path: Path) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    file = table_of(tmp_path, torch.log_softmax(logits, 1))
    found = loss(built(tmp_path, file=file), logits, LABELS, [0, 1, 2, 3])
    hard = F.cross_entropy(logits, torch.tensor(LABELS))
    assert found == pytest.approx(0.1 * float(hard), abs=1e-6)


def test_rows_follow_the_index_of_the_batch(tmp_path: Path) -> None:
    rows = torch.log_softmax(torch.eye(3)[[0, 1, 2, 0]] * 9, 1)
    strategy = built(tmp_path, file=table_of(tmp_path, rows), weight=1.0)
    near, far = (loss(strategy, torch.eye(3)[:1] * 9, [0], [k]) for k in (3, 1))
    assert near == pytest.approx(0, abs=1e-6)
    assert far > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": torch.zeros(5, 3), "labels": [0] * 5}, r"\[5, 3\], this training has \[4, 3\]"),
        ({"rows": torch.zeros(4, 2)}, r"\[4, 2\], this training has \[4, 3\]"),
        ({"rows": torch.zeros(4, 3), "labels": [1, 1, 2, 1]}, "of other images"),
    ],
)
def test_a_table_of_another_training_is_refused(tmp_path: Path, change, message) -> None:
    file = table_of(tmp_path, **change)
    with pytest.raises(AutosdError, match=message):
        built(tmp_path, file=file)


def test_a_missing_or_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match=r"soft_labels\.file: .*none: no such file"):
        built(tmp_path, file="none")
    (tmp_path / "text").write_text("no tensors here")
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "other")
    for file in ("text", "other"):
        with pytest.raises(AutosdError, match=f"{file}: no table of soft labels"):
            built(tmp_path, file=file)


def test_a_missing_file_ends_a_training_before_it_begins() -> None:
    with pytest.raises(AutosdError, match="no such file"):
        trainer_for(recipe_for("soft_labels", {"file": "none"}))


def test_a_large_table_is_kept_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autosd.strategies.memory.SINGLE_BUDGET", 0)
    rows = torch.log_softmax(torch.eye(3)[[0, 1, 2, 0]] * 9, 1)
    strategy = built(tmp_path, file=table_of(tmp_path, rows))
    assert strategy.table is not None
    assert strategy.table.dtype == torch.float16
    assert math.isfinite(loss(strategy, torch.eye(3), [0, 1, 2], [0, 1, 2]))


def test_the_table_is_in_no_checkpoint_and_the_run_resumes(tmp_path: Path) -> None:
    """Training with a teacher: the path is relative to `root`, the state has no table."""
    part = digits().part("train")
    rows = torch.log_softmax(
        torch.randn(len(part), 10, generator=torch.Generator().manual_seed(1)), 1
    )
    recipe = recipe_for("soft_labels", {"file": str(tmp_path / "t")}, epochs=2)
    (tmp_path / "t").write_bytes(table_bytes(rows, torch.from_numpy(part.labels)))
    whole = trained(recipe)
    assert "soft_labels/teacher" in whole.history[0]["terms"]
    assert not whole.strategies.state_dict()
    first = trainer_for(recipe, checkpoint=tmp_path / "last.pt")
    next(first.epochs())
    first.save()
    again = trainer_for(recipe, checkpoint=tmp_path / "last.pt")
    list(again.epochs())
    theirs = again.student.state_dict()
    assert all(torch.equal(own, theirs[key]) for key, own in whole.student.state_dict().items())
