"""The study folder: made, found, resumed, refused, broken; records for readers."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.search import ledger
from autosd.search.lock import read_owner
from autosd.search.space import Space
from autosd.search.store import StorageBroken
from autosd.search.study import StudyFolder, close, lock_path, study_names, study_path

COMMAND = ["autosd", "search", "--storage", "mysql://me:geheim@db/s"]


@pytest.fixture
def folder(tmp_path: Path, definition: StudyDefinition, joint: Space) -> StudyFolder:
    """A new study."""
    return StudyFolder.prepare(tmp_path / "runs", definition, joint, command=COMMAND)


def run(folder: StudyFolder) -> None:
    """Some trials of every kind."""
    study = folder.load(optuna.samplers.RandomSampler(0), read_only=False)
    base = folder.definition.recipe
    ledger.enqueue_defaults(study, folder.space)
    for number in range(6):
        trial, _ = ledger.ask(study, folder.space, base)
        ledger.report(study, trial, [(1, 0.2), (2, 0.1 * number)])
        if number == 1:
            ledger.tell_pruned(study, trial, why="below the median", pruned_by="family")
        elif number == 2:
            ledger.tell_diverged(study, trial, 3, "diverged at epoch 3: supervised", epochs_run=2)
        elif number == 3:
            ledger.requeue_then_fail(study, trial, "error", "out of memory")
        elif number == 4:
            ledger.requeue_then_fail(study, trial, "interrupted")
        else:
            ledger.tell_complete(study, trial, 0.1 * number, seconds=1.5, epochs_run=2)
    ledger.ask(study, folder.space, base)
    ledger.enqueue(study, folder.space, folder.space.default_params("masd"), "prior")
    close(study)


def changed(folder: StudyFolder, definition: StudyDefinition, space: Space) -> str:
    """What is said about a resumed study with another definition."""
    with pytest.raises(AutosdError) as caught:
        StudyFolder.prepare(folder.path.parent, definition, space)
    return str(caught.value)


def test_a_new_study_has_everything_a_reader_needs(folder: StudyFolder) -> None:
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"study.yaml", "space.yaml", "environment.json", "storage.json", "study.db"}
    again = StudyFolder.find("small", folder.path.parent)
    assert again == folder
    assert StudyDefinition.read(folder.path / "study.yaml") == folder.definition
    facts = json.loads((folder.path / "environment.json").read_text())
    assert "geheim" not in json.dumps(facts)
    assert facts["command"] == ["autosd", "search", "--storage", "mysql://me:***@db/s"]
    assert {"torch", "ray", "optuna"} <= set(facts["versions"])
    assert facts["machine"]["cores"] >= 1
    assert facts["machine"]["memory_gib"] > 0


def test_the_dashboard_gets_names_and_facts(folder: StudyFolder) -> None:
    study = folder.load()
    assert study.metric_names == ["val_top1"]
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert study.user_attrs["model"] == "resnet8"
    assert study.user_attrs["families"] == 5
    close(study)


def test_nll_is_minimised(tmp_path: Path, definition: StudyDefinition, joint: Space) -> None:
    nll = definition.model_copy(update={"objective": "nll"})
    study = StudyFolder.prepare(tmp_path, nll, joint).load()
    assert study.direction is optuna.study.StudyDirection.MINIMIZE
    assert study.metric_names == ["val_nll"]
    close(study)


def test_the_same_definition_resumes(folder: StudyFolder) -> None:
    run(folder)
    before = folder.records()
    again = StudyFolder.prepare(folder.path.parent, folder.definition, folder.space)
    assert again == folder
    assert again.records() == before


def test_trials_slots_and_time_budget_may_change(folder: StudyFolder) -> None:
    update = {"trials": 99, "slots": 3, "time_budget": 60.0}
    more = folder.definition.model_copy(update=update)
    again = StudyFolder.prepare(folder.path.parent, more, folder.space)
    assert again.definition == more
    assert StudyFolder.find("small", folder.path.parent) == folder, "recorded with the first trial"
    again.write_definition()
    assert StudyFolder.find("small", folder.path.parent).definition == more


def test_another_definition_is_refused_with_every_difference(
    folder: StudyFolder, read: Any
) -> None:
    values = folder.definition.mapping()
    values["recipe"].update(epochs=5, seed=3)
    values["pruner"] = "none"
    other = StudyDefinition.parse(values)
    before = (folder.path / "study.yaml").read_bytes()
    assert changed(folder, other, folder.space).splitlines() == [
        "study small exists with another definition:",
        "  recipe.epochs: 10 there, 5 asked for",
        "  recipe.seed: 0 there, 3 asked for",
        "  pruner: 'family' there, 'none' asked for",
        "repeat the old definition, take over what fits into a new study (--fork NEW), or begin "
        "one without it (--name NEW)",
    ]
    narrower = read("joint", overrides={"mixup.alpha": {"uniform": [0.1, 0.5]}})
    said = changed(folder, folder.definition, narrower)
    assert "space.families.mixup.knobs.mixup.alpha.uniform: [0.1, 1.0] there, [0.1, 0.5]" in said
    fewer = changed(folder, folder.definition, read("strategies: {masd: }"))
    assert "space.families.mixup.members: ['mixup'] there, nothing asked for" in fewer
    assert (folder.path / "study.yaml").read_bytes() == before


def test_the_name_of_the_space_file_does_not_matter_its_content_does(folder: StudyFolder) -> None:
    renamed = folder.definition.model_copy(update={"space": "elsewhere/joint.yaml"})
    assert StudyFolder.prepare(folder.path.parent, renamed, folder.space) == folder


@pytest.mark.parametrize("left", ["space.yaml", "environment.json", "storage.json", "study.db"])
def test_a_study_cut_while_it_was_made_is_made_at_the_next_start(
    folder: StudyFolder, left: str
) -> None:
    (folder.path / "study.yaml").unlink()
    order = ["study.db", "environment.json", "space.yaml", "storage.json"]
    for name in order[: order.index(left)]:
        (folder.path / name).unlink()
    again = StudyFolder.prepare(folder.path.parent, folder.definition, folder.space)
    assert again == folder
    assert again.records() == []


@pytest.mark.parametrize("name", ["../evil", "A", "", ".hidden", "a/b", "x" * 65, "a b"])
def test_bad_names_are_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(AutosdError, match="study name"):
        study_path(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, definition: StudyDefinition, joint: Space
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "thesis.tex").write_text("years of work")
    with pytest.raises(AutosdError, match=r"has thesis\.tex but no study\.yaml"):
        StudyFolder.prepare(tmp_path, definition, joint)
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_named(
    tmp_path: Path, definition: StudyDefinition, joint: Space
) -> None:
    (tmp_path / "small").write_text("")
    with pytest.raises(AutosdError, match="is a file"):
        StudyFolder.prepare(tmp_path, definition, joint)


def test_a_study_is_found_by_name_or_path_and_a_typo_is_named(folder: StudyFolder) -> None:
    root = folder.path.parent
    assert StudyFolder.find(str(folder.path), Path("/nowhere")) == folder
    assert study_names(root) == ["small"]
    with pytest.raises(AutosdError, match=r"no study 'smal'.*there are: small.*Did you mean"):
        StudyFolder.find("smal", root)
    with pytest.raises(AutosdError, match="there is none yet"):
        StudyFolder.find("small", root / "empty")


def test_a_moved_or_copied_study_is_whole(folder: StudyFolder, tmp_path: Path) -> None:
    run(folder)
    before = folder.records(hidden=True)
    shutil.copytree(folder.path, tmp_path / "copy")
    shutil.rmtree(folder.path)
    copy = StudyFolder.open(tmp_path / "copy")
    assert copy.url == f"sqlite:///{tmp_path}/copy/study.db"
    assert copy.records(hidden=True) == before


def test_the_storage_may_lie_elsewhere_and_belongs_to_one_folder(
    tmp_path: Path, definition: StudyDefinition, joint: Space
) -> None:
    shared = f"sqlite:///{tmp_path}/shared.db"
    one = StudyFolder.prepare(tmp_path / "one", definition, joint, storage=shared)
    assert StudyFolder.open(one.path).url == shared
    assert not (one.path / "study.db").exists()
    run(one)
    with pytest.raises(AutosdError, match=r"already has a study named 'small' from another"):
        StudyFolder.prepare(tmp_path / "two", definition, joint, storage=shared)
    assert StudyFolder.prepare(tmp_path / "one", definition, joint, storage=shared) == one
    assert len(one.records()) > 3


def test_records_say_what_happened_to_every_trial(folder: StudyFolder) -> None:
    run(folder)
    found = {record.number: record for record in folder.records()}
    assert {number: record.state for number, record in found.items()} == {
        0: "complete",
        1: "pruned",
        2: "diverged",
        3: "failed",
        5: "complete",
        6: "running",
        7: "waiting",
    }
    complete = found[0]
    assert (complete.family, complete.strategies) == ("cross_entropy", ("cross_entropy",))
    assert (complete.origin, complete.protected) == ("default", True)
    assert complete.curve == ((1, 0.2), (2, 0.0))
    assert (complete.value, complete.seconds, complete.epochs_run) == (0.0, 1.5, 2)
    assert complete.started is not None
    assert complete.finished is not None
    assert complete.finished >= complete.started
    assert (found[1].why, found[1].value) == ("below the median", 0.1)
    assert (found[2].why, found[2].value) == ("diverged at epoch 3: supervised", None)
    assert found[2].curve == ((1, 0.2), (2, 0.2))
    assert found[3].why == "out of memory"
    assert found[5].lineage == 4
    assert found[7].family == "masd"
    assert found[7].origin == "prior"


def test_superseded_attempts_are_hidden_unless_asked_for(folder: StudyFolder) -> None:
    run(folder)
    hidden = {record.number for record in folder.records(hidden=True) if record.superseded}
    assert hidden == {4}
    assert 4 not in {record.number for record in folder.records()}


def test_places_are_named_after_the_first_attempt(folder: StudyFolder) -> None:
    assert folder.trial(7) == folder.path / "trials" / "0007"
    assert folder.best.parent == folder.finalists.parent == folder.retrain.parent == folder.path
    assert lock_path(folder.path.parent, "small") == folder.lock_path
    with folder.lock() as lock:
        assert read_owner(folder.lock_path) == lock.owner


@pytest.mark.parametrize("name", ["study.yaml", "space.yaml", "storage.json"])
@pytest.mark.parametrize("text", ["", "{", "- 1", "name: 3"])
def test_a_broken_file_is_named_with_the_way_out(folder: StudyFolder, name: str, text: str) -> None:
    (folder.path / name).write_text(text)
    with pytest.raises(AutosdError, match=f"{name}.*") as caught:
        StudyFolder.find("small", folder.path.parent).load()
    assert "start the study anew" in str(caught.value)


def test_a_study_in_its_folder_needs_no_word_on_its_storage(folder: StudyFolder) -> None:
    (folder.path / "storage.json").unlink()
    again = StudyFolder.open(folder.path)
    close(again.load())
    assert again.url == folder.url


def test_without_a_word_on_it_no_other_storage_is_taken(
    folder: StudyFolder, tmp_path: Path
) -> None:
    (folder.path / "storage.json").unlink()
    shutil.copy(folder.path / "study.db", tmp_path / "other.db")
    there = StudyFolder.open(folder.path, storage=f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(AutosdError, match="from another folder"):
        there.load()


def test_a_broken_database_is_named_with_the_way_out(folder: StudyFolder) -> None:
    (folder.path / "study.db").write_bytes(b"not a database, by no means" * 40)
    for broken in (folder.records, folder.load, lambda: folder.load(read_only=False)):
        with pytest.raises(StorageBroken, match=r"study\.db: not readable.*start the study anew"):
            broken()


def test_what_the_dashboard_is_told_is_read_before_it_is_written_anew(folder: StudyFolder) -> None:
    with contextlib.closing(sqlite3.connect(folder.path / "study.db")) as connection, connection:
        connection.execute(
            "INSERT INTO study_system_attributes (study_id, key, value_json) "
            "SELECT study_id, 'dashboard:note_str:0', '\"cut' FROM studies"
        )
    with pytest.raises(StorageBroken, match=r"study\.db: not readable.*start the study anew"):
        folder.load(read_only=False)
    close(folder.load())


def test_a_missing_or_foreign_database_is_named(folder: StudyFolder, tmp_path: Path) -> None:
    (folder.path / "study.db").unlink()
    with pytest.raises(AutosdError, match=r"study\.db: no such database"):
        folder.records()
    optuna.create_study(storage=folder.url, study_name="other")
    with pytest.raises(AutosdError, match="has no study named 'small'"):
        folder.records()


def test_the_split_is_recorded_once_and_other_data_are_refused(folder: StudyFolder) -> None:
    folder.split.check({"train": 500, "val": 500}, "abc")
    folder.split.check({"train": 500, "val": 500}, "abc")
    assert json.loads((folder.path / "split.json").read_text())["counts"]["train"] == 500
    with pytest.raises(AutosdError, match="digits is not the data it began with"):
        folder.split.check({"train": 400, "val": 500}, "abd")


def test_every_reading_of_the_test_part_is_recorded(folder: StudyFolder) -> None:
    assert folder.split.readings() == []
    folder.split.check({"train": 500}, "abc")
    for who in ("retrain", "compare"):
        folder.split.note_reading(who, "2026-01-01T00:00:00+00:00")
    assert [reading["who"] for reading in folder.split.readings()] == ["retrain", "compare"]
    folder.split.check({"train": 500}, "abc")


def test_what_is_written_is_plain_yaml_and_holds_no_absolute_path(folder: StudyFolder) -> None:
    for name in ("study.yaml", "space.yaml", "storage.json"):
        text = (folder.path / name).read_text()
        assert str(folder.path) not in text
        assert isinstance(yamlfile.loads(text, name), dict)


def test_a_reader_needs_neither_torch_nor_ray(folder: StudyFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from autosd.search.study import StudyFolder\n"
        "StudyFolder.find(sys.argv[1], Path('.')).records()\n"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
