"""A new study from the finished trials of another one: which fit, what is copied, what is said."""

import resource
from pathlib import Path
from typing import Any

import optuna
import pytest

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import AutosdError, EngineLost
from autosd.files import write_text
from autosd.recipe import StudyDefinition
from autosd.search import census, ledger
from autosd.search.blame import halted
from autosd.search.fork import Plan, planned
from autosd.search.forked import announce, copy, record, told
from autosd.search.lock import TakenOver
from autosd.search.ready import Ready
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close, study_path

from . import drive

TRIALS = 8


@pytest.fixture(scope="module")
def data() -> Data:
    """The digits."""
    return load_data(drive.definition(1).recipe.data)


@pytest.fixture
def source(tmp_path: Path, data: Data) -> StudyFolder:
    """A study of eight trials of every end, one of them with a second attempt, and a queue."""
    folder = StudyFolder.prepare(tmp_path, drive.definition(TRIALS), drive.SPACE)
    folder.split.check(data.counts, data.fingerprint)
    study = folder.load(optuna.samplers.RandomSampler(0), read_only=False)
    ledger.enqueue_defaults(study, folder.space)
    base = folder.definition.recipe
    for number in range(TRIALS + 1):
        trial, _ = ledger.ask(study, folder.space, base)
        ledger.report(study, trial, [(1, 0.25), (2, 0.125 * number)])
        write_text(folder.trial(census.lineage(trial)) / "history.jsonl", f"{trial.number}\n")
        if number == 3:
            ledger.tell_pruned(study, trial, why="below the median")
        elif number == 4:
            ledger.tell_diverged(study, trial, 3, "diverged at epoch 3: supervised")
        elif number == 5:
            ledger.requeue_then_fail(study, trial, "interrupted")
        elif number == 7:
            ledger.requeue_then_fail(study, trial, "error", "a bug")
        else:
            ledger.tell_complete(study, trial, 0.125 * number, seconds=1.5, epochs_run=2)
    ledger.ask(study, folder.space, base)
    close(study)
    return folder


def ready(data: Data, space: Space = drive.SPACE, name: str = "new", **changes: Any) -> Ready:
    """What is asked for, under a name of its own."""
    values = drive.definition(20, name).mapping()
    values["recipe"] |= changes.pop("recipe", {})
    return Ready(StudyDefinition.parse(values | changes), space, data)


def space(**families: Any) -> Space:
    """The space of the driver with some families changed, or left out where None."""
    values = drive.SPACE.mapping()
    values["families"] |= families
    values["families"] = {name: of for name, of in values["families"].items() if of is not None}
    return Space.parse(values)


def masd(knob: Any) -> dict[str, Any]:
    """The family `masd` with another range, or a fixed value."""
    kind = "knobs" if isinstance(knob, dict) else "fixed"
    return {"members": ["masd"], kind: {"masd.mask_ratio": knob}}


def fork(wanted: Ready, root: Path, check: Any = lambda: None) -> tuple[Plan, StudyFolder]:
    """The new study, as a search makes it."""
    plan = planned(wanted, root, "s", None)
    assert plan is not None
    announce(study_path(root, wanted.definition.name), "s")
    folder = StudyFolder.prepare(root, wanted.definition, wanted.space)
    folder.split.check(wanted.data.counts, wanted.data.fingerprint)
    copy(plan, folder, check)
    return plan, folder


def test_every_finished_trial_of_the_same_space_is_copied_with_all_that_belongs_to_it(
    source: StudyFolder, data: Data
) -> None:
    _, folder = fork(ready(data), source.path.parent)
    old = {one.number: one for one in source.records()}
    new = folder.records(hidden=True)
    assert [one.attributes["forked_from"] for one in new] == [0, 1, 2, 3, 4, 6, 8]
    assert [one.number for one in new] == list(range(7))
    for one in new:
        there = old[one.attributes["forked_from"]]
        assert (one.state, one.value, one.curve, one.params, one.why) == (
            (there.state, there.value, there.curve, there.params, there.why)
        )
        assert (one.origin, one.attributes["forked_study"]) == ("forked", "s")
        assert (one.started, one.finished) == (there.started, there.finished)
        assert one.lineage == one.number
        kept = folder.trial(one.number)
        assert (kept / "history.jsonl").read_text() == f"{there.number}\n"
        assert (kept / "recipe.yaml").is_file()
    assert record(folder.path) == {"study": "s", "copied": 7, "left": [], "code": []}


def test_copied_trials_count_and_defaults_are_not_run_again(
    source: StudyFolder, data: Data
) -> None:
    _, folder = fork(ready(data), source.path.parent)
    study = folder.load(optuna.samplers.RandomSampler(1), read_only=False)
    assert ledger.counts(study).counted == 7
    assert ledger.enqueue_defaults(study, folder.space) == 0
    ledger.ask(study, folder.space, folder.definition.recipe)
    close(study)


def test_what_does_not_fit_is_counted_with_its_reason(source: StudyFolder, data: Data) -> None:
    narrow = space(masd=masd({"uniform": [0.1, 0.2], "default": 0.15}), toast=None)
    plan, _ = fork(ready(data, narrow), source.path.parent)
    families = [one.params["strategy"] for one in plan.fitting]
    ends = ("complete", "pruned", "diverged")
    gone = [one for one in source.records() if one.family == "toast" and one.state in ends]
    assert "toast" not in families
    assert plan.left["family toast is not in the space"] == len(gone)
    assert sum(plan.left.values()) + len(plan.fitting) == 7
    assert "forked from s:" in told(plan.mapping())
    assert "(family toast is not in the space)" in told(plan.mapping())


def test_a_trial_fits_a_space_that_searches_what_was_fixed(tmp_path: Path, data: Data) -> None:
    fixed = space(masd=masd(0.15))
    old = StudyFolder.prepare(tmp_path, drive.definition(2), fixed)
    old.split.check(data.counts, data.fingerprint)
    study = old.load(read_only=False)
    ledger.enqueue(study, fixed, fixed.default_params("masd"), "user")
    trial, _ = ledger.ask(study, fixed, old.definition.recipe)
    ledger.tell_complete(study, trial, 0.5)
    close(study)
    _, folder = fork(ready(data), tmp_path)
    (one,) = folder.records()
    assert one.params["masd.mask_ratio"] == 0.15
    assert one.value == 0.5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe": {"epochs": 9}}, "7 trials: epochs: 8 there, 9 asked for"),
        ({"recipe": {"batch_size": 64}}, "7 trials: batch_size: 128 there, 64 asked for"),
        ({"objective": "nll"}, "7 trials: objective: 'top1' there, 'nll' asked for"),
        ({"seed": 3}, "7 trials: seed: 0 there, 3 asked for"),
    ],
)
def test_where_nothing_fits_it_is_refused_and_nothing_is_written(
    source: StudyFolder, data: Data, changes: dict[str, Any], reason: str
) -> None:
    root = source.path.parent
    with pytest.raises(AutosdError) as caught:
        planned(ready(data, **changes), root, "s", None)
    first, *reasons, last = str(caught.value).splitlines()
    assert first == "no finished trial of study s can be one of new:"
    assert reasons == [f"  {reason}"]
    assert last == "begin new without them: --name new in the place of --fork new"
    assert not (root / "new").exists()


def test_other_data_fit_nothing(source: StudyFolder, data: Data) -> None:
    split = source.path / "split.json"
    split.write_text(split.read_text().replace(data.fingerprint, "other"))
    with pytest.raises(AutosdError, match="7 trials: other data, or divided in another way"):
        planned(ready(data), source.path.parent, "s", None)


def test_a_fork_that_is_cut_at_any_trial_goes_on_and_doubles_nothing(
    source: StudyFolder, data: Data
) -> None:
    root = source.path.parent
    for cut in (0, 3, 7):
        name = f"cut{cut}"
        left = iter(range(cut))

        def check(left: Any = left) -> None:
            if next(left, None) is None:
                raise TakenOver("cut")

        with pytest.raises(TakenOver, match="cut"):
            fork(ready(data, name=name), root, check)
        beside = root / name / f"trials/.{cut:04d}.fork"
        write_text(beside / "history.jsonl", "half of it")
        again = planned(ready(data, name=name), root, None, None)
        assert again is not None, "it goes on without being asked again"
        folder = StudyFolder.open(root / name)
        copy(again, folder, lambda: None)
        origins = [one.attributes["forked_from"] for one in folder.records()]
        assert origins == [0, 1, 2, 3, 4, 6, 8]
        assert planned(ready(data, name=name), root, "s", None) is None
        assert not beside.exists() or cut == 7


def test_a_fork_that_was_cut_says_how_to_go_on_when_its_source_is_gone(
    source: StudyFolder, data: Data
) -> None:
    root = source.path.parent

    def check() -> None:
        raise TakenOver("cut")

    with pytest.raises(TakenOver, match="cut"):
        fork(ready(data), root, check)
    source.path.rename(root.parent / "gone")
    with pytest.raises(AutosdError, match="no study 's'") as fault:
        planned(ready(data), root, None, None)
    record = root / "new/fork.json"
    assert f"remove {record} to go on with those that are there" in str(fault.value)
    record.unlink()
    assert planned(ready(data), root, None, None) is None


def test_a_fork_that_finds_no_room_on_the_disk_says_so_and_goes_on(
    source: StudyFolder, data: Data
) -> None:
    root = source.path.parent
    with (source.trial(3) / "logits.npz").open("wb") as file:
        file.truncate(2**26)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**25, before[1]))
    try:
        with pytest.raises(AutosdError, match="0003: cannot be copied from") as caught:
            fork(ready(data), root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(halted(caught.value), EngineLost)
    plan = planned(ready(data), root, None, None)
    assert plan is not None
    copy(plan, folder := StudyFolder.open(root / "new"), lambda: None)
    assert len(folder.records()) == 7
    assert (folder.trial(3) / "logits.npz").stat().st_size == 2**26


def test_a_name_that_is_taken_is_refused(source: StudyFolder, data: Data) -> None:
    root = source.path.parent
    fork(ready(data), root)
    with pytest.raises(AutosdError, match="--fork new: is a fork of s, not other"):
        planned(ready(data), root, "other", None)
    StudyFolder.prepare(root, drive.definition(3, "taken"), drive.SPACE)
    with pytest.raises(AutosdError, match="--fork taken: this study exists and is no fork of s"):
        planned(ready(data, name="taken"), root, "s", None)
    with pytest.raises(AutosdError, match="no study 'nothing'"):
        planned(ready(data, name="fresh"), root, "nothing", None)


def test_a_study_without_finished_trials_cannot_be_forked(tmp_path: Path, data: Data) -> None:
    StudyFolder.prepare(tmp_path, drive.definition(3), drive.SPACE)
    with pytest.raises(AutosdError, match=r"has no finished trial yet; begin new without"):
        planned(ready(data), tmp_path, "s", None)


def test_it_is_said_that_copied_trials_were_trained_with_other_code(
    source: StudyFolder, data: Data
) -> None:
    file = source.path / "environment.json"
    version = '"torch": "'
    file.write_text(file.read_text().replace(version, version + "0."))
    _, folder = fork(ready(data), source.path.parent)
    kept = record(folder.path)
    assert kept is not None
    assert "trained with other code: torch: 0." in told(kept)
