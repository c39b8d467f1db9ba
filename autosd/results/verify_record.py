"""The trials of a study: the database against itself, and against what lies in the folders."""

from collections import defaultdict

import optuna
import sqlalchemy

from autosd.data.dataset import Data
from autosd.errors import AutosdError
from autosd.results.verify_faults import PUT_BACK, Check
from autosd.results.verify_origin import updated
from autosd.results.verify_trial import check_trial
from autosd.search import ledger, store
from autosd.search.census import Counts
from autosd.search.records import TrialRecord, visible
from autosd.search.study import StudyFolder, close
from autosd.stored import WAY_OUT

COUNTED = ("complete", "pruned", "diverged", "failed")
LOST = "the trial is missing from the plan; the next search asks for another one in its place"
TWICE = "leave the later one out of what you conclude, and report this"


def check_record(folder: StudyFolder, data: Data | None, live: bool, check: Check) -> Counts | None:
    """Check the database and every trial that has ended.

    Args:
        folder: of the study.
        data: of the study, None where they cannot be had.
        live: whether somebody runs the study.
        check: takes what is found.

    Returns:
        The counts, None where the database cannot be read.
    """
    try:
        study = folder.load()
    except AutosdError as error:
        check.wrong("storage", str(error), WAY_OUT)
        return None
    try:
        _check_database(study, check)
        with store.readable(folder.url):
            counts, records = ledger.counts(study), folder.records(study, hidden=True)
            attributes = study.user_attrs
    except AutosdError as error:
        check.wrong("storage", str(error), WAY_OUT)
        return None
    finally:
        close(study)
    _check_definition(folder, attributes, check)
    _check_counts(folder, counts, live, check)
    _check_attempts(records, check)
    for record in records:
        if record.state in COUNTED and not record.superseded and record.duplicate_of is None:
            check_trial(folder, record, data, check)
            check.count("trials")
    _check_strange_folders(folder, records, check)
    _note_logits(folder, records, check)
    return counts


def _check_database(study: optuna.Study, check: Check) -> None:
    engine = store.storage_of(study).engine
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        said = connection.execute(sqlalchemy.text("PRAGMA integrity_check(3)")).scalars().all()
    for line in said:
        if line != "ok":
            check.wrong("study.db", str(line), PUT_BACK)


def _check_definition(folder: StudyFolder, attributes: dict[str, object], check: Check) -> None:
    """The fingerprints that the database took down when the study began."""
    facts = {
        "space.yaml": ("space", folder.space.fingerprint),
        "study.yaml": ("recipe", folder.definition.recipe.fingerprint()),
    }
    for where, (key, now) in facts.items():
        if attributes.get(key) in (None, now):
            continue
        if updated(folder):
            check.note(f"{where}: autosd reads it otherwise than when the study began")
        else:
            check.wrong(where, "is not the one that the study began with", PUT_BACK)


def _check_counts(folder: StudyFolder, counts: Counts, live: bool, check: Check) -> None:
    planned = folder.definition.trials
    if counts.counted > planned:
        check.note(f"{counts.counted} trials count, {planned} are planned: the plan was lowered")
    if not live and counts.running:
        check.note(
            f"{counts.running} trials were running when their driver died; the next command that "
            "opens the study hands them back"
        )
    if not live and counts.counted < planned:
        check.note(f"{counts.counted} of {planned} trials are done; the same search goes on")


def _check_attempts(records: list[TrialRecord], check: Check) -> None:
    """Nothing lost, nothing counted twice."""
    by_number = {record.number: record for record in records}
    lineages: dict[int, list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.duplicate_of is None:
            lineages[record.lineage].append(record)
        else:
            _check_duplicate(record, by_number.get(record.duplicate_of), check)
    for attempts in lineages.values():
        counted = [one.number for one in attempts if not one.superseded]
        if len(counted) > 1:
            check.wrong(f"trials {_listed(counted)}", "are one trial that counts twice", TWICE)
        if not counted:
            last = attempts[-1].number
            check.wrong(f"trial {last}", "was to be tried again and was not", LOST)
    _check_twins([one for one in records if one.state in COUNTED], check)


def _check_duplicate(record: TrialRecord, first: TrialRecord | None, check: Check) -> None:
    if first is None or first.number >= record.number or first.params != record.params:
        check.wrong(
            f"trial {record.number}",
            f"is said to repeat trial {record.duplicate_of}, which has other parameters",
            "it is not counted; report this",
        )


def _check_twins(records: list[TrialRecord], check: Check) -> None:
    seen: dict[str, TrialRecord] = {}
    for record in records:
        if record.superseded or record.duplicate_of is not None:
            continue
        first = seen.setdefault(repr(sorted(record.params.items())), record)
        if first is not record and first.lineage != record.lineage:
            numbers = _listed([first.number, record.number])
            check.wrong(f"trials {numbers}", "have the same parameters, and both count", TWICE)


def _check_strange_folders(folder: StudyFolder, records: list[TrialRecord], check: Check) -> None:
    known = {record.lineage for record in records}
    for path in sorted((folder.path / "trials").glob("*")):
        if not (path.name.isdigit() and int(path.name) in known):
            check.wrong(
                f"trials/{path.name}",
                "the database has no such trial",
                "put back the newer copy of the database, or move this folder away",
            )


def _note_logits(folder: StudyFolder, records: list[TrialRecord], check: Check) -> None:
    complete = [one for one in visible(records) if one.state == "complete"]
    gone = [one for one in complete if not (folder.trial(one.lineage) / "logits.npz").is_file()]
    if gone:
        check.note(f"{len(gone)} complete trials have no logits any more and can join no ensemble")


def _listed(numbers: list[int]) -> str:
    return " and ".join(str(number) for number in numbers)
