import shutil
from pathlib import Path

import pytest

from autosd.recipe import StudyDefinition
from autosd.results.found import Found, search
from autosd.search.ready import check

DEFINITION = {
    "name": "tiny",
    "recipe": {"data": "digits", "model": "resnet8", "epochs": 1, "batch_size": 64},
    "space": "label_smoothing",
    "trials": 4,
    "finalists": {"count": 2, "seeds": 2},
}


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A finished study of four short trials; not to be changed."""
    ready = check(StudyDefinition.parse(DEFINITION))
    return search(ready, tmp_path_factory.mktemp("runs"), engine="inline")


@pytest.fixture
def root(found: Found, tmp_path: Path) -> Path:
    """A folder of studies with a copy of the finished study `tiny`."""
    shutil.copytree(found.outcome.folder.path, tmp_path / "runs/tiny")
    return tmp_path / "runs"
