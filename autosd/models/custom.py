"""A student of the user's own: `path/to/file.py:Class`, built with `classes` and `image_shape`."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from autosd.errors import AutosdError
from autosd.located import located
from autosd.models.student import Activations, Student, StudentSpec
from autosd.recipe import unknown


def is_custom(name: str) -> bool:
    """Whether a model's name stands for a class in a Python file."""
    return ".py:" in name or name.endswith(".py")


def load_class(name: str) -> type[Student]:
    """The class that `path/to/file.py:Class` names.

    Raises:
        AutosdError: no class named, no such file, the file fails when imported, no such class in
            it, or a class that is not a `Student`.
    """
    path, separator, class_name = name.rpartition(":")
    if not separator or not class_name.isidentifier():
        raise AutosdError(f"model {name}: a class is missing, as in {path or name}:MyStudent")
    module = _load_module(name, located(path))
    students = [key for key, value in vars(module).items() if _is_student(value)]
    if not hasattr(module, class_name):
        raise AutosdError(f"model {name}: {unknown('class', class_name, students)}")
    kind = getattr(module, class_name)
    if not _is_student(kind):
        raise AutosdError(f"model {name}: {class_name} must be a subclass of {_base()}")
    return kind  # type: ignore[no-any-return]


def build_custom(name: str, classes: int, image_shape: tuple[int, int, int]) -> Student:
    """Construct the class and see that what it returns is what its `spec` says.

    Raises:
        AutosdError: it cannot be constructed or run, or does not keep the interface.
    """
    kind = load_class(name)
    try:
        student = kind(classes=classes, image_shape=image_shape)
    except Exception as error:
        raise AutosdError(
            f"model {name}: {kind.__name__}(classes={classes}, image_shape={image_shape}) "
            f"failed ({type(error).__name__}: {error})"
        ) from error
    _check(student, name, classes, image_shape)
    return student


def _load_module(name: str, path: Path) -> ModuleType:
    """The file as a module, imported once per process."""
    if not path.is_file():
        raise AutosdError(f"model {name}: there is no file {path}")
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()
    module_name = f"autosd_user_{digest}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise AutosdError(f"model {name}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise AutosdError(
            f"model {name}: {path} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    return module


def _is_student(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Student) and value is not Student


def _base() -> str:
    return f"{Student.__module__}.{Student.__name__}"


def _check(student: Student, name: str, classes: int, image_shape: tuple[int, int, int]) -> None:
    spec = getattr(student, "spec", None)
    if not isinstance(spec, StudentSpec):
        raise AutosdError(f"model {name}: its `spec` must be a StudentSpec, not {spec!r:.60}")
    if (spec.classes, tuple(spec.image_shape)) != (classes, image_shape):
        raise AutosdError(
            f"model {name}: its spec is for {spec.classes} classes and images of "
            f"{tuple(spec.image_shape)}, it was asked for {classes} and {image_shape}"
        )
    student.eval()
    try:
        with torch.no_grad():
            activations = student.activations(torch.zeros(2, *image_shape))
            faults = _faults(student, activations)
    except Exception as error:
        raise AutosdError(
            f"model {name}: a pass over images of {image_shape} failed "
            f"({type(error).__name__}: {error})"
        ) from error
    student.train()
    if faults:
        raise AutosdError("\n".join(f"model {name}: {fault}" for fault in faults))


def _faults(student: Student, activations: Activations) -> list[str]:
    """Where a pass over two images differs from the spec."""
    logits, taps, embedding, _ = activations
    spec, faults = student.spec, []
    wanted = [(2, stage.channels) for stage in spec.stages]
    if [tuple(tap.shape[:2]) for tap in taps if tap.dim() == 4] != wanted:
        shapes = [tuple(tap.shape) for tap in taps]
        channels = [stage.channels for stage in spec.stages]
        faults.append(f"taps must be maps [B, C, H, W] with {channels} channels, not {shapes}")
    if tuple(embedding.shape) != (2, spec.embedding):
        faults.append(f"embedding must be [B, {spec.embedding}], not {tuple(embedding.shape)}")
    elif not torch.allclose(student.classifier(embedding), logits, atol=1e-5):
        faults.append("logits must be `classifier(embedding)`")
    if tuple(logits.shape) != (2, spec.classes):
        faults.append(f"logits must be [B, {spec.classes}], not {tuple(logits.shape)}")
    return faults
