from pathlib import Path

import pytest

from .garbling import SEARCHED, make


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was searched; not to be changed."""
    return make(tmp_path_factory.mktemp("searched"), SEARCHED)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that has every kind of file; not to be changed."""
    return make(tmp_path_factory.mktemp("whole"))
