"""Moving and stochastic weight averages, step by step."""

import pytest
import torch
from torch import Tensor, nn

from autosd.models.student import Activations, Student
from autosd.recipe import AverageSpec
from autosd.training.average import Ema, Swa, make_average


class Tiny(Student):
    """One linear layer behind a norm, enough to have parameters and both kinds of buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.head = nn.Linear(1, 1, bias=False)

    def activations(self, images: Tensor) -> Activations:
        embedding = self.norm(images)
        return Activations(self.head(embedding), (), embedding)


IMAGES = torch.tensor([[1.0], [3.0], [5.0], [7.0]])


def no_images() -> list[tuple[Tensor, Tensor]]:
    return []


def set_to(student: Tiny, value: float, mean: float = 0.0) -> None:
    nn.init.constant_(student.head.weight, value)
    nn.init.constant_(student.norm.running_mean, mean)


def test_ema_moves_parameters_and_buffers() -> None:
    student = Tiny()
    set_to(student, 1.0)
    average = Ema(student, 0.5)
    set_to(student, 3.0, mean=2.0)
    average.after_step(100)
    assert average.mean.head.weight.item() == pytest.approx(2.0)
    assert average.mean.norm.running_mean.item() == pytest.approx(1.0)
    assert not average.mean.training


def test_ema_forgets_its_start_quickly() -> None:
    student = Tiny()
    set_to(student, 1.0)
    average = Ema(student, 0.999)
    set_to(student, 0.0)
    average.after_step(0)
    assert average.mean.head.weight.item() == pytest.approx(0.1)


def test_counts_are_copied_not_averaged() -> None:
    student = Tiny()
    average = Ema(student, 0.9)
    student(IMAGES)
    average.end_epoch(0, 1, no_images)
    assert int(average.mean.norm.num_batches_tracked) == 1


def test_swa_takes_the_last_quarter() -> None:
    student = Tiny()
    average = Swa(student)
    for epoch in range(8):
        set_to(student, float(epoch))
        average.end_epoch(epoch, 8, no_images)
        assert (average.result(student) is student) == (epoch < 6)
    assert average.mean.head.weight.item() == pytest.approx(6.5)


def test_swa_estimates_batch_norm_again_in_one_pass() -> None:
    student = Tiny()
    set_to(student, 1.0, mean=100.0)
    average = Swa(student)
    batches = [(IMAGES[:2], IMAGES), (IMAGES[2:], IMAGES), (IMAGES[:1], IMAGES)]
    average.end_epoch(0, 1, lambda: batches)
    norm = average.mean.norm
    assert norm.running_mean.item() == pytest.approx(4.0)
    assert norm.running_var.item() == pytest.approx(2.0)
    assert norm.momentum == 0.1
    assert not average.mean.training


def test_without_an_average_the_student_counts() -> None:
    student = Tiny()
    assert make_average(AverageSpec(), student).result(student) is student
    assert make_average(AverageSpec(), student).state_dict() == {}
