"""The parts strategies are made of: targets, memories, carried rows, passes, costs, listing."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.models.student import Activations
from autosd.recipe import ModelSpec
from autosd.strategies.carry import Carry
from autosd.strategies.costs import survey
from autosd.strategies.listing import knob_rows, listing
from autosd.strategies.memory import label_rows, memory_dtype
from autosd.strategies.passes import copy_weights, pseudo_teacher, same_precision, teacher_pass
from autosd.strategies.strategy import Cost, Targets, discover
from autosd.strategies.toast import Toast

from .synthetic import TinyStudent, batch_of, clock, run_spec, take_step


def student_of(model, shape=(3, 32, 32), classes=100):
    return build_student(ModelSpec(name=model), classes, shape, seed=0)


def images(*shape):
    source = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=source).to(memory_format=torch.channels_last)


class TestTargets:
    def test_hard_targets_are_the_hard_cross_entropy_bit_for_bit(self):
        logits, labels = images(4, 5, 1, 1).flatten(1), torch.tensor([0, 3, 4, 1])
        found = Targets(labels).cross_entropy(logits)
        assert torch.equal(found, F.cross_entropy(logits, labels, reduction="none"))

    def test_half_precision_logits_are_cast_up_and_double_ones_are_not_cast_down(self):
        labels = torch.tensor([1])
        assert Targets(labels).cross_entropy(torch.zeros(1, 2).bfloat16()).dtype == torch.float32
        assert Targets(labels).cross_entropy(torch.zeros(1, 2).double()).dtype == torch.float64

    def test_softened_rows_keep_labels_and_class_weights(self):
        targets = Targets(torch.tensor([0, 1]), weights=torch.tensor([1.0, 3.0]))
        soft = targets.softened(targets.dense(2))
        assert torch.equal(soft.labels, targets.labels)
        found = soft.cross_entropy(torch.zeros(2, 2))
        torch.testing.assert_close(found, targets.cross_entropy(torch.zeros(2, 2)))

    def test_rows_of_targets(self):
        targets = Targets(torch.tensor([0, 1, 2])).softened(torch.eye(3))
        assert targets.rows(slice(1, 3)).labels.tolist() == [1, 2]
        assert torch.equal(targets.rows(slice(1, 3)).soft, torch.eye(3)[1:])


class TestMemory:
    def test_rows_start_as_labels(self):
        rows = label_rows(run_spec(3, [2, 0], 2), copies=1, owner="ps_kd")
        assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]
        assert rows.dtype == torch.float32

    @pytest.mark.parametrize(
        ("count", "classes", "copies", "dtype"),
        [
            (50_000, 100, 1, torch.float32),
            (100_000, 200, 2, torch.float32),
            (2**28, 1, 1, torch.float32),
            (2**28 + 1, 1, 1, torch.float16),
            (1_281_167, 1000, 1, torch.float16),
        ],
    )
    def test_precision_follows_the_budget(self, count, classes, copies, dtype):
        assert memory_dtype(count, classes, copies, "x") == dtype

    def test_what_does_not_fit_is_refused_by_name(self):
        with pytest.raises(
            AutosdError, match=r"ipasd: its memory of 1281167 images x 1000 classes"
        ):
            memory_dtype(1_281_167, 1000, 2, "ipasd")

    @pytest.mark.parametrize("name", ["ps_kd", "ipasd"])
    def test_half_precision_memory_works(self, name, monkeypatch):
        monkeypatch.setattr("autosd.strategies.memory.SINGLE_BUDGET", 0)
        student, labels = TinyStudent(), [0, 1, 2, 0]
        strategy = discover()[name](discover()[name].Knobs(), student, run_spec(3, labels, 4))
        assert any(buffer.dtype == torch.float16 for buffer in strategy.buffers())
        for epoch in range(3):
            taken = take_step(
                [strategy],
                batch_of(labels),
                clock(epoch),
                lambda batch: images(4, 3, 1, 1).flatten(1),
                lambda batch: images(4, 8, 1, 1).flatten(1),
                student,
            )
            strategy.end_epoch(student, clock(epoch))
            assert taken.targets.soft.dtype == torch.float32
            torch.testing.assert_close(taken.targets.soft.sum(1), torch.ones(4), atol=1e-3, rtol=0)
            assert torch.isfinite(taken.total)


class TestCarry:
    def test_nothing_is_appended_before_the_first_step(self):
        batch = batch_of([0, 1])
        assert Carry(run_spec(3, [0, 1], 2)).append_to(batch) is batch

    def test_rows_follow_the_fresh_ones_as_another_view(self):
        carry, batch = Carry(run_spec(3, [0, 1, 2], 3)), batch_of([0, 1, 2], [7, 8, 9])
        carry.keep(batch, torch.eye(3), torch.tensor([0, 2]))
        appended = carry.append_to(batch_of([1], [5]))
        assert appended.fresh == 1
        assert appended.index.tolist() == [5, 7, 9]
        assert appended.labels.tolist() == [1, 0, 2]
        assert appended.view.tolist() == [0, 1, 1]
        assert appended.source.tolist() == [0, -1, -1]
        assert torch.equal(carry.past_logits(), torch.eye(3)[[0, 2]])

    def test_images_are_drawn_again(self):
        asked = []

        def draw(index, view):
            asked.append((index.tolist(), view))
            return torch.ones(len(index), 1, 8, 8)

        carry, batch = Carry(run_spec(3, [0, 1], 2)), replace(batch_of([0, 1]), draw=draw)
        carry.keep(batch, torch.zeros(2, 3))
        appended = carry.append_to(batch)
        assert asked == [([0, 1], 1)]
        assert (appended.images[2:] == 1).all()

    def test_the_count_is_part_of_the_state(self):
        run = run_spec(3, [0, 1, 2], 3)
        carry, other = Carry(run), Carry(run)
        carry.keep(batch_of([0, 1]), torch.zeros(2, 3))
        other.load_state_dict(carry.state_dict())
        assert other.rows == 2
        assert list(other.state_dict()) == list(Carry(run).state_dict())


class TestPseudoTeacher:
    @pytest.mark.parametrize("model", ["resnet8", "wrn-16-1", "vgg8", "mobilenetv2"])
    def test_a_copy_gives_exactly_the_students_outputs(self, model):
        student = student_of(model, classes=10).to(memory_format=torch.channels_last)
        self.assert_exact(student)

    def test_a_foreign_backbone_is_matched_as_well(self):
        student = student_of("mobilenetv3_small_050", classes=10)
        self.assert_exact(student.to(memory_format=torch.channels_last))

    def assert_exact(self, student):
        teacher, batch = pseudo_teacher(student), images(6, 3, 32, 32)
        before = {key: value.clone() for key, value in teacher.state_dict().items()}
        for half in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                ours = student.activations(batch)
            ours = ours._replace(autocast=torch.bfloat16 if half else None)
            theirs = teacher_pass(teacher, batch, like=ours)
            assert torch.equal(ours.logits, theirs.logits)
            assert torch.equal(ours.embedding, theirs.embedding)
            assert all(map(torch.equal, ours.taps, theirs.taps))
            assert not theirs.logits.requires_grad
        assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())

    def test_it_is_frozen_and_without_dropout(self):
        student = TinyStudent()
        student.stages.append(nn.Sequential(nn.Dropout(0.5)))
        teacher = pseudo_teacher(student)
        assert not any(parameter.requires_grad for parameter in teacher.parameters())
        assert not teacher.stages[-1][0].training
        assert student.stages[-1][0].training
        assert student.stages[0][1].track_running_stats

    def test_weights_and_buffers_are_copied(self):
        student = TinyStudent()
        teacher = pseudo_teacher(student)
        student.activations(images(4, 1, 8, 8))
        nn.init.constant_(student.head.bias, 3.0)
        copy_weights(teacher, student)
        for key, value in student.state_dict().items():
            assert torch.equal(value, teacher.state_dict()[key])


@pytest.mark.parametrize("maps", [torch.float32, torch.bfloat16])
def test_autocast_is_taken_over_from_the_students_pass_whatever_its_maps_are(maps):
    taps = (torch.zeros(1, 2, 1, 1, dtype=maps),)
    plain = Activations(torch.zeros(1, 2), taps, torch.zeros(1, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16), same_precision(plain):
        assert not torch.is_autocast_enabled("cpu")
    with same_precision(plain._replace(autocast=torch.bfloat16)):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


class TestCosts:
    def cost(self, name, model="resnet18", **knobs):
        student = student_of(model)
        strategy = discover()[name]
        run = run_spec(100, [0], 1)
        return strategy(strategy.Knobs(**knobs), student, run).cost()

    def test_survey_leaves_the_student_as_it_was(self):
        student = student_of("resnet8").train()
        student.head.eval()
        before = {key: value.clone() for key, value in student.state_dict().items()}
        found = survey(student)
        assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
        assert student.training
        assert not student.head.training
        assert found.activations.logits.shape == (1, 100)

    def test_operations_of_a_resnet18(self):
        assert survey(student_of("resnet18")).operations / 2 == pytest.approx(555.5e6, rel=1e-3)

    @pytest.mark.parametrize(
        ("name", "knobs", "forwards", "backwards"),
        [
            ("cross_entropy", {}, 1, 1),
            ("label_smoothing", {}, 1, 1),
            ("dsr", {}, 1, 1),
            ("ps_kd", {}, 1, 1),
            ("ipasd", {}, 1, 1),
            ("dlb", {}, 2, 2),
            ("toast", {}, 1.5, 1.5),
            ("toast", {"replay_fraction": 1}, 2, 2),
            ("masd", {}, 2.0, 2.0),
            ("masd", {"num_taps": 0}, 1, 1),
            ("drg", {"tap": 1}, 1.0223, 1.0223),
            ("drg", {"tap": 2}, 1.0159, 1.0159),
            ("drg", {"tap": 3}, 1.0098, 1.0098),
            ("rskd", {}, 2, 1),
            ("rskd", {"residual_layers": 4}, 2.034, 1.034),
            ("rskd", {"kd_weight": 0, "residual_weight": 0}, 1, 1),
        ],
    )
    def test_declared_costs(self, name, knobs, forwards, backwards):
        cost = self.cost(name, **knobs)
        assert cost.forwards == pytest.approx(forwards, rel=2e-3)
        assert cost.backwards == pytest.approx(backwards, rel=2e-3)

    def test_cost_of_a_step(self):
        assert Cost().step == 1
        assert Cost(2, 1).step == pytest.approx(4 / 3)


class TestListing:
    def test_every_strategy_is_listed_with_plain_values(self):
        rows = {row["name"]: row for row in listing()}
        assert set(rows) == set(discover())
        assert rows["rskd"]["slots"] == ["heads", "teacher"]
        assert rows["rskd"]["reference"].startswith("our reading")
        assert rows["toast"]["reference"].startswith("our reading")
        assert rows["dlb"]["cost"] == {"forwards": 2.0, "backwards": 2.0, "step": 2.0}

    def test_knobs_say_what_is_valid(self):
        rows = {row["name"]: row for row in knob_rows(discover()["rskd"].Knobs)}
        assert rows["teacher"]["valid"] == "snapshot | ema"
        assert rows["ema_momentum"]["valid"] == "[0, 1)"
        assert rows["residual_layers"]["valid"] == "[0, inf) integer"
        assert rows["temperature"] == {
            "name": "temperature",
            "default": 3.0,
            "valid": "(0, 1000]",
            "meaning": "softens both sides of the KL",
        }
        flags = {row["name"]: row["valid"] for row in knob_rows(Toast.Knobs)}
        assert flags["correct_only"] == "true | false"


def test_toast_says_when_a_pool_would_be_too_large(caplog):
    strategy = Toast(Toast.Knobs(medoid_pool=1000), TinyStudent(), run_spec(512, [0], 1))
    assert strategy.pools.size == 256
    assert "toast.medoid_pool: 256 instead of 1000, for 512 classes" in caplog.text
