"""The code that a study began with against the code that is here."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from autosd.search import code
from autosd.search.study import StudyFolder

from . import drive

MODEL = "resnet8"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The folder of a new study."""
    return StudyFolder.prepare(tmp_path, drive.definition(3), drive.SPACE).path


def begin_with(study: Path, **other: str) -> None:
    """Let a study have begun with other versions or files than there are."""
    file = study / code.FILE
    values = json.loads(file.read_text())
    for name, value in other.items():
        kind = "files" if name.endswith(".py") else "versions"
        values["code"][kind][name] = value
    file.write_text(json.dumps(values))


def test_a_study_keeps_what_decides_its_numbers(study: Path) -> None:
    kept = json.loads((study / code.FILE).read_text())["code"]
    assert kept == asdict(code.here(MODEL))
    assert {"autosd", "torch", "numpy"} <= set(kept["versions"])
    assert {
        "autosd/training/trainer.py",
        "autosd/strategies/masd.py",
        "autosd/models/build.py",
        "autosd/data/splits.py",
        "autosd/recipe.py",
    } <= set(kept["files"])
    assert not [name for name in kept["files"] if "search" in name or "cli" in name]
    assert code.changed(study, MODEL) == []


def test_every_version_and_file_that_changed_is_named_and_new_files_are_not(study: Path) -> None:
    now = code.here(MODEL)
    begin_with(study, torch="2.0", **{"autosd/recipe.py": "0123", "autosd/training/gone.py": "45"})
    assert code.changed(study, MODEL) == [
        f"torch: 2.0 then, {now.versions['torch']} now",
        f"autosd/recipe.py: 0123 then, {now.files['autosd/recipe.py']} now",
        "autosd/training/gone.py: 45 then, nothing now",
    ]
    fewer = {name: text for name, text in now.files.items() if "masd" not in name}
    assert code.changes(replace(now, files=fewer), now) == []


def test_the_refusal_names_what_changed_and_the_ways_out(study: Path) -> None:
    begin_with(study, **{f"autosd/training/{n}.py": "0" for n in range(9)})
    first, *lines, last = str(code.refuse(study, code.changed(study, MODEL))).splitlines()
    assert first == "study s began with other code:"
    assert lines[0] == "  autosd/training/0.py: 0 then, nothing now"
    assert lines[-1] == "  and 3 more"
    assert "--fork NEW" in last
    assert "--accept-code" in last


def test_what_was_accepted_is_recorded_with_both_fingerprints_and_asked_for_no_more(
    study: Path,
) -> None:
    begin_with(study, torch="2.0")
    said = code.accept(study, MODEL)
    values = json.loads((study / code.FILE).read_text())
    (entry,) = values["accepted"]
    assert entry["is"] == code.here(MODEL).fingerprint != entry["was"]
    assert f"{entry['was']} -> {entry['is']}" in said
    assert "torch: 2.0 then" in said
    assert code.accepted(study) == [said]
    assert code.changed(study, MODEL) == []
    assert values["code"]["versions"]["torch"] == "2.0", "the beginning stays on record"


def test_runs_beside_the_search_are_remarked_on_in_the_same_words(study: Path) -> None:
    said: list[str] = []
    code.remark(study, MODEL, said.append)
    assert said == []
    begin_with(study, torch="2.0")
    code.remark(study, MODEL, said.append)
    assert said[0].startswith("study s began with other code: torch: 2.0 then, ")


def test_a_student_of_the_user_counts(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("width = 8\n")
    before = code.here(f"{file}:Mine")
    assert before.files[file.as_posix()]
    file.write_text("width = 16\n")
    assert len(code.changes(before, code.here(f"{file}:Mine"))) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"code": 3}', '{"code": {}, "accepted": 1}'])
def test_where_the_record_is_lost_nothing_is_known_and_nothing_refused(
    study: Path, text: str
) -> None:
    (study / code.FILE).write_text(text)
    assert code.changed(study, MODEL) == []
    assert code.accepted(study) == []
