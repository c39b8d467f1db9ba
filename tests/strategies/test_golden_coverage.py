"""No golden case lies idle."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .golden import FOLDER

PLACES = ("strategies", "data")


def stored() -> set[tuple[str, str]]:
    """Method and case of everything in the golden files."""
    files = [json.loads(file.read_text()) for file in FOLDER.glob("*.json")]
    return {(case["method"], case["case"]) for file in files for case in file}


def modules() -> Iterator[ModuleType]:
    """Test modules that read golden files."""
    tests = Path(__file__).parent.parent
    package, _, _ = (__package__ or "").rpartition(".")
    for place in PLACES:
        for file in sorted((tests / place).glob("test_*.py")):
            if ".golden import" in file.read_text():
                yield importlib.import_module(f"{package}.{place}.{file.stem}")


def collected(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Method and case of every parameter of the module's tests."""
    tests = (value for name, value in vars(module).items() if name.startswith("test_"))
    marks = (mark for test in tests for mark in getattr(test, "pytestmark", []))
    for mark in marks:
        if mark.name == "parametrize":
            yield from (key for given in mark.args[1] if (key := key_of(given)))


def key_of(given: Any) -> tuple[str, str] | None:
    values = given.values if isinstance(given, type(pytest.param())) else ()
    case = next(iter(values), None)
    return (case["method"], case["case"]) if isinstance(case, dict) else None


def test_every_golden_case_is_a_parameter_of_a_test():
    read = {key for module in modules() for key in collected(module)}
    assert stored() - read == set()


def test_a_case_that_no_test_takes_would_be_noticed():
    (place,) = [module for module in modules() if module.__name__.endswith("test_golden_rskd")]
    rskd = {key for key in stored() if key[0] == "rskd"}
    assert set(collected(place)) == rskd
