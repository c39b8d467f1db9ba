import itertools

import pytest
import torch

from autosd.errors import AutosdError
from autosd.models.build import build_student, check_model
from autosd.recipe import ModelSpec

IMAGE = (3, 8, 8)
SOURCE = """
import torch
from torch import nn
from autosd.models.pooling import pool
from autosd.models.student import Activations, StageSpec, Student, StudentSpec

class Tiny(Student):
    def __init__(self, classes, image_shape):
        super().__init__()
        self.spec = StudentSpec(
            name="tiny", stages=(StageSpec(6, 1), StageSpec(8, 2)), embedding=8, classes=classes,
            image_shape=image_shape, pooled_last_tap=True, copies_stages=False, batch_norm=False,
        )
        self.one = nn.Conv2d(image_shape[0], 6, 3, 1, 1)
        self.two = nn.Conv2d(6, 8, 3, 2, 1)
        self.head = nn.Linear(8, classes)

    def activations(self, images):
        first = self.one(images).relu()
        second = self.two(first).relu()
        embedding = pool(second)
        return Activations(self.head(embedding), (first, second), embedding)

    def classifier(self, embedding):
        return self.head(embedding)

NUMBER = 3
"""
NAMES = itertools.count()


@pytest.fixture
def write(tmp_path):
    """Write a changed copy of the file; the name of its class `Tiny` in a recipe comes back."""

    def write(old="", new="", kind="Tiny"):
        path = tmp_path / f"nets{next(NAMES)}.py"
        assert old in SOURCE
        path.write_text(SOURCE.replace(old, new) if old else SOURCE)
        return f"{path}:{kind}"

    return write


def build(name):
    return build_student(ModelSpec(name=name), 4, IMAGE, 0)


def test_a_class_of_a_file_becomes_the_student(write):
    name = write()
    check_model(ModelSpec(name=name))
    student, again = build(name), build(name)
    assert type(student) is type(again)
    assert student(torch.zeros(2, *IMAGE)).shape == (2, 4)
    assert torch.equal(student.head.weight, again.head.weight)
    assert student.training


def test_a_relative_path_is_taken_from_the_current_folder(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert build(write().rpartition("/")[2]).spec.name == "tiny"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Tinny", r"no class named 'Tinny'; there are: Tiny. Did you mean 'Tiny'\?"),
        ("NUMBER", "NUMBER must be a subclass of autosd.models.student.Student"),
        ("Student", "Student must be a subclass"),
        ("", "a class is missing, as in"),
        ("a b", "a class is missing, as in"),
    ],
)
def test_a_wrong_class_is_refused_by_the_check(write, kind, reason):
    with pytest.raises(AutosdError, match=reason):
        check_model(ModelSpec(name=write(kind=kind)))


def test_a_file_without_a_class_or_without_a_file_is_refused(tmp_path):
    with pytest.raises(AutosdError, match=r"a class is missing, as in nets\.py:MyStudent"):
        check_model(ModelSpec(name="nets.py"))
    with pytest.raises(AutosdError, match=r"there is no file .*nets.py"):
        check_model(ModelSpec(name=f"{tmp_path}/nets.py:Tiny"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("NUMBER = 3", "NUMBER = ", r"cannot be imported \(SyntaxError"),
        ("NUMBER = 3", "import nothing_of_this_name", r"cannot be imported \(ModuleNotFoundError"),
        ("(self, classes, image_shape)", "(self, classes)", r"Tiny\(classes=4, .*TypeError"),
        ("self.spec = Stud", "self.plan = Stud", "`spec` must be a StudentSpec, not None"),
        ("classes=classes,", "classes=7,", "its spec is for 7 classes"),
        ("image_shape=image_shape, p", "image_shape=(1, 8, 8), p", r"images of \(1, 8, 8\)"),
        ("StageSpec(8, 2)", "StageSpec(9, 2)", r"taps must be maps .* \[6, 9\] channels"),
        ("(first, second),", "(first,),", "taps must be maps"),
        ("embedding=8", "embedding=9", r"embedding must be \[B, 9\], not \(2, 8\)"),
        ("self.head(embedding), (", "self.head(embedding) + 1, (", "must be `classifier"),
        ("self.two(first)", "self.three(first)", r"failed \(AttributeError"),
        ("def activations", "def other", r"failed \(NotImplementedError"),
    ],
)
def test_a_class_that_breaks_the_interface_is_refused(write, old, new, reason):
    with pytest.raises(AutosdError, match=reason):
        build(write(old, new))


def test_a_users_class_has_no_pretrained_weights(write):
    with pytest.raises(AutosdError, match="no pretrained weights"):
        check_model(ModelSpec(name=write(), pretrained=True))
