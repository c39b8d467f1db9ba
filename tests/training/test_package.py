"""The public names of the package."""

import subprocess
import sys

import pytest

import autosd


def test_importing_autosd_is_light() -> None:
    code = "import autosd, sys; print(sorted({'torch', 'ray', 'optuna'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert {name for name in dir(autosd) if not hasattr(autosd, name)} == set()
    assert autosd.__version__.count(".") == 2


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_such"):
        autosd.nothing_such  # noqa: B018
