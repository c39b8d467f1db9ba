"""What a study lacks, or what is damaged, when a search goes on with it: said before any change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.results.found import search
from autosd.results.model import open_model, origin
from autosd.results.outcome import winner
from autosd.search.ready import check
from autosd.search.study import StudyFolder, refuse_if_run

from .conftest import DEFINITION

SETTLED = (".lock", "study.log", "study.db", "study.db-wal", "study.db-shm")
"""Files that are opened, and files that no command depends on."""


def contents(study: Path) -> dict[Path, bytes]:
    files = (path for path in study.rglob("*") if path.is_file() and path.name not in SETTLED)
    return {path: path.read_bytes() for path in files}


def lose(name: str) -> Callable[[Path], None]:
    return lambda study: (study / name).unlink()


def link_best(study: Path) -> None:
    (study / "best").rename(study / "elsewhere")
    (study / "best").symlink_to("elsewhere")


def garble_the_winner(study: Path) -> None:
    won = winner(StudyFolder.open(study), StudyFolder.open(study).records())
    assert won is not None
    assert won.source is not None
    (won.source / "model/model.safetensors").write_bytes(b"noise")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lose("split.json"), r"split\.json: is missing or no file; put back a copy"),
        (lose("study.db"), r"study\.db: no such database; put back a copy"),
        (lose("study.yaml"), r"tiny: has best, .* but no study\.yaml; put back a copy"),
        (lose("best/metrics.json"), r"best/metrics\.json: cannot be read.* put back a copy"),
        (link_best, r"best: is no folder of its own; put back a copy.* writ. it anew"),
        (garble_the_winner, r"model\.safetensors: .* put back a copy"),
    ],
)
def test_it_is_said_before_anything_is_changed(
    root: Path, damage: Callable[[Path], None], said: str
) -> None:
    study = root / "tiny"
    damage(study)
    before = contents(study)
    ready = check(StudyDefinition.parse({**DEFINITION, "trials": 5}))
    with pytest.raises(AutosdError, match=said):
        search(ready, root, engine="inline")
    assert contents(study) == before


def test_a_lost_database_is_no_full_disk(root: Path) -> None:
    (root / "tiny/study.db").unlink()
    with pytest.raises(AutosdError, match="no such database; put back a copy") as refused:
        refuse_if_run(root / "tiny")
    assert type(refused.value) is AutosdError


def test_what_was_killed_while_it_was_made_is_no_study_yet(root: Path) -> None:
    study = root / "made"
    study.mkdir()
    (study / "space.yaml").write_text("families: []\n")
    with pytest.raises(AutosdError, match=r"no study 'made' in .*; there are: tiny"):
        StudyFolder.find("made", root)


def test_a_model_belongs_to_the_study_around_it_and_not_to_any_database(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.db").write_bytes(b"of another program")
    (root / "tiny/best").rename(tmp_path / "mine")
    assert origin(open_model("mine", tmp_path)).study is None
    (tmp_path / "mine").rename(root / "tiny/best")
    assert origin(open_model("tiny", root)).study is not None
    (root / "tiny/study.yaml").unlink()
    with pytest.raises(AutosdError, match=r"study\.yaml: is missing or no file; put back a copy"):
        origin(open_model("tiny", root))
