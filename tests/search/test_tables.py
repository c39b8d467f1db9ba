"""What is read from the tables without Optuna is what Optuna reads."""

import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from autosd.errors import AutosdError
from autosd.search import ledger, tables
from autosd.search.census import Census
from autosd.search.lock import StudyLock
from autosd.search.look import all_records, looked, running
from autosd.search.records import records
from autosd.search.study import StudyFolder, close, lock_path

from . import servers
from .drive import SPACE, definition


def filled(root: Path, storage: str | None = None, name: str = "s") -> StudyFolder:
    """A study with a trial of every kind, and one that runs."""
    with StudyLock(lock_path(root, name)):
        folder = StudyFolder.prepare(root, definition(20, name), SPACE, storage=storage)
        study, base = folder.load(read_only=False), folder.definition.recipe
        ledger.enqueue_defaults(study, folder.space)

        def ask() -> optuna.Trial:
            return ledger.ask(study, folder.space, base)[0]

        best, worst, other = ask(), ask(), ask()
        ledger.report(study, best, [(1, 0.1), (2, 1 / 3)])
        ledger.tell_complete(study, best, 1 / 3, seconds=1.5, host="here")
        ledger.report(study, worst, [(1, math.inf), (2, math.nan)])
        ledger.tell_diverged(study, worst, 3, "diverged at epoch 3: loss of train")
        ledger.report(study, other, [(1, 0.2)])
        ledger.tell_pruned(study, other, why="pruned by family", projected=0.4)
        ledger.requeue_then_fail(study, ask(), "error", "ValueError: no")
        ledger.requeue_then_fail(study, ask(), "interrupted")
        ledger.enqueue(study, folder.space, best.params, "user")
        again, last = ask(), ask()
        ledger.tell_duplicate(study, again, ledger.trials(study)[best.number])
        ledger.report(study, last, [(1, 0.25)])
        ledger.enqueue(study, folder.space, folder.space.default_params("masd"), "user")
        study.set_user_attr("use", {"busy": 1.0, "slots": 2.0, "seconds": 3.0})
        close(study)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return filled(tmp_path)


def compare(folder: StudyFolder) -> None:
    """Both ways of reading, field by field."""
    study = folder.load()
    try:
        there, anew = study.get_trials(), ledger.census(study)
        with tables.opened(folder.url, folder.name) as found:
            assert found is not None
            assert found.attributes == study.user_attrs
            whole, brief = found.whole(range(len(there))), found.brief()
            assert found.running() == 1
        for mine, theirs in zip(whole, there, strict=True):
            for name in vars(mine):
                own, other = getattr(mine, name), getattr(theirs, name)
                if name == "state":
                    own, other = own.name, other.name
                elif isinstance(own, dict) and name != "params":
                    own, other = sorted(own.items()), sorted(other.items())
                assert repr(own) == repr(other), (name, mine.number)  # NaN is not itself
        kept = Census(folder.minimise, brief)
        assert kept.counts == anew.counts
        assert (kept.unimproved, kept.repeats) == (anew.unimproved, anew.repeats)
        for hidden in (False, True):
            known = all_records(folder, hidden=hidden)
            assert known == records(study, folder.space, hidden=hidden)
    finally:
        close(study)


def test_every_field_is_as_optuna_reads_it(folder: StudyFolder) -> None:
    compare(folder)


@pytest.mark.slow
@pytest.mark.db
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_server_is_read_alike(kind: str, tmp_path: Path) -> None:
    with getattr(servers, kind)() as url:
        compare(filled(tmp_path, url))


def test_tables_of_another_version_are_read_by_optuna(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with looked(folder) as look:
        known = look.census.counts, look.best()
        rows = look.records([0, 1])
    monkeypatch.setattr(tables, "VERSION", "v9")
    with looked(folder) as look:
        assert isinstance(look.trials[0], optuna.trial.FrozenTrial)
        assert (look.census.counts, look.best()) == known
        assert look.records([0, 1]) == rows
    assert running(folder) == 1


def test_a_study_that_is_not_there_is_told_as_by_optuna(folder: StudyFolder) -> None:
    with sqlite3.connect(folder.path / "study.db") as connection:
        connection.execute("UPDATE studies SET study_name = 'other'")
    connection.close()
    messages = []
    for act in (folder.load, lambda: all_records(folder)):
        with pytest.raises(AutosdError) as caught:
            act()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "has no study named 's'" in messages[0]


def test_status_needs_neither_optuna_nor_a_database_library(folder: StudyFolder) -> None:
    with StudyLock(folder.lock_path):
        heavy = "optuna", "sqlalchemy", "numpy", "torch"
        code = (
            "import sys\nfrom autosd.cli.main import app\n"
            "try:\n    app()\nexcept SystemExit:\n    pass\n"
            f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
        )
        words = [sys.executable, "-c", code, "status", str(folder.path), "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert '"running": 1' in done.stdout
