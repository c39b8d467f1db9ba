"""Copying the trials of a fork, and what the new study remembers of it.

The file `fork.json` says where the trials came from and is there before anything else: a fork that
is cut goes on at its next start. A trial is copied once, because it carries the number of the one
it was made from; its folder comes first and whole.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from autosd import files, yamlfile
from autosd.errors import AutosdError
from autosd.search import census, code, ledger, origin
from autosd.search.knobs import STRATEGY
from autosd.search.queue import MARK
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close, study_path

if TYPE_CHECKING:
    from autosd.search.fork import Fitting, Plan

FILE = "fork.json"
FROM = "forked_from"
"""User attribute of a copied trial: the number of the trial it was made from."""
STUDY = "forked_study"
OF_ATTEMPTS = (census.RETRY, ledger.FAILED_BEFORE, "attempt", "superseded", MARK)
OTHER = "choose another name"


def asked(root: Path, new: str, source: str | None) -> str | None:
    """The study whose trials are still to be copied into `new`; None where there is none.

    Args:
        root: the folder of studies.
        new: name of the new study.
        source: the study that is to be forked, None where nobody asks for it: a fork that was cut
            goes on all the same.

    Raises:
        AutosdError: `new` exists and is no fork of `source`.
    """
    path = study_path(root, new)
    known = _record(path)
    if source is None:
        return None if known is None or known.get("done") else str(known.get("study"))
    if known is None and (path / "study.yaml").exists():
        raise AutosdError(f"--fork {new}: this study exists and is no fork of {source}; {OTHER}")
    if known is not None and known.get("study") != source:
        raise AutosdError(f"--fork {new}: is a fork of {known.get('study')}, not {source}; {OTHER}")
    return None if known is not None and known.get("done") else source


@contextmanager
def source_of(root: Path, new: str) -> Iterator[None]:
    """Say how a fork that was cut goes on, in a block that does not find the study it is from.

    Raises:
        AutosdError: that of the block, with the ways on where `new` is such a fork.
    """
    file = study_path(root, new) / FILE
    try:
        yield
    except AutosdError as error:
        if not file.exists():
            raise
        raise AutosdError(
            f"{error}\n{new} is a fork of it that was interrupted before all trials were copied: "
            f"put the study back, or remove {file} to go on with those that are there"
        ) from None


def copy(plan: "Plan", folder: StudyFolder, check: Callable[[], object]) -> None:
    """Copy what is not there yet; for the holder of the new study's lock, before its first trial.

    Args:
        plan: from `fork.planned`.
        folder: of the new study.
        check: called before each write; raises where the study has been taken over.

    Raises:
        AutosdError: the disk does not take it.
    """
    study = folder.load(read_only=False)
    try:
        there = {trial.user_attrs.get(FROM) for trial in ledger.trials(study)}
        for one in plan.fitting:
            if one.trial.number not in there:
                check()
                _copy_files(plan.source, one, folder.trial(len(ledger.trials(study))))
                study.add_trial(_made(one, plan.source.name, folder.space))
    finally:
        close(study)
    check()
    _write(folder.path, {**plan.mapping(), "done": True})


def announce(path: Path, source: str) -> None:
    """Write to the folder of a new study that it is a fork, before it is a study."""
    if _record(path) is None:
        _write(path, {"study": source, "done": False})


def record(path: Path) -> dict[str, Any] | None:
    """What a study took over from another one, as `Plan.mapping` has it; None if it is no fork."""
    known = _record(path)
    if known is None or not known.get("done"):
        return None
    return {key: value for key, value in known.items() if key != "done"}


def told(found: Mapping[str, Any]) -> str:
    """A `Plan.mapping` in words."""
    left = ", ".join(f"{entry['trials']} ({entry['reason']})" for entry in found["left"])
    said = f"forked from {found['study']}: {found['copied']} finished trials copied"
    said += f", not copied: {left}" if left else ", all of them"
    if found["code"]:
        said += f"; they were trained with other code: {'; '.join(code.shortened(found['code']))}"
    return said


def _made(one: "Fitting", source: str, space: Space) -> FrozenTrial:
    """The trial of the new study, with the times of the old one."""
    old, family = one.trial, one.params[STRATEGY]
    attrs = {name: value for name, value in old.user_attrs.items() if name not in OF_ATTEMPTS}
    if one.params != space.default_params(family):
        attrs.pop("default_of", None)
    attrs |= {"origin": "forked", FROM: old.number, STUDY: source, "family": family}
    made = optuna.trial.create_trial(
        state=old.state,
        value=old.value,
        params=dict(one.params),
        distributions=dict(one.distributions),
        user_attrs=attrs,
        intermediate_values=dict(old.intermediate_values),
    )
    made.datetime_start, made.datetime_complete = old.datetime_start, old.datetime_complete
    return made


def _copy_files(source: StudyFolder, one: "Fitting", target: Path) -> None:
    """The folder of a trial, whole or not at all."""
    there, beside = (
        source.trial(census.lineage(one.trial)),
        target.with_name(f".{target.name}.fork"),
    )
    try:
        for path in (beside, target):
            shutil.rmtree(path, ignore_errors=True)
        for path in there.rglob("*"):
            _copy_visible(path, beside / path.relative_to(there))
        files.write_text(beside / "recipe.yaml", yamlfile.dumps(one.recipe.mapping()))
        beside.rename(target)
    except OSError as error:
        raise AutosdError(f"{target}: cannot be copied from {there} ({error.strerror})") from error


def _copy_visible(path: Path, target: Path) -> None:
    """Copy a file that is no temporary one; `shutil.copytree` would hide what the disk said."""
    if path.is_file() and not path.name.startswith("."):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def _record(path: Path) -> dict[str, Any] | None:
    file = path / FILE
    return origin.read_json(file) if file.exists() else None


def _write(path: Path, values: Mapping[str, Any]) -> None:
    files.write_json(path / FILE, values)
