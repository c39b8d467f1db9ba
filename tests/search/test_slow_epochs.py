"""How long an epoch may take, as every engine is told."""

from pathlib import Path

from autosd.search.attended import Attended
from autosd.search.jobs import Job
from autosd.search.progress import Quiet

from . import drive
from .counter import open_desk, result, rising


def ask(attended: Attended) -> Job:
    answer = attended.ask()
    assert isinstance(answer, Job)
    return answer


def test_without_a_limit_an_epoch_may_take_ten_times_the_longest_and_half_an_hour(
    tmp_path: Path,
) -> None:
    with open_desk(tmp_path, drive.SPACE) as desk:
        attended = Attended(desk.bridge, Quiet())
        first = ask(attended)
        assert first.epoch_seconds is None
        assert attended.report(first, result(1, rising, [1], seconds=9.0))
        assert ask(attended).epoch_seconds == 1800.0
        assert attended.report(first, result(2, rising, [2], seconds=900.0))
        assert ask(attended).epoch_seconds == 9000.0


def test_in_this_process_an_epoch_that_took_too_long_is_recorded_and_its_trial_ended(
    tmp_path: Path,
) -> None:
    with open_desk(tmp_path, drive.SPACE, job=Job("", {}, "", epoch_seconds=5.0)) as desk:
        attended = Attended(desk.bridge, Quiet())
        job = ask(attended)
        assert attended.report(job, result(1, rising, [1], seconds=4.0))
        late = result(2, rising, [2], seconds=6.0)
        assert not attended.report(job, late)
        attended.complete(job, late, None)
        trial = desk.trial(0)
        assert trial.user_attrs["ended"] == "hung"
        assert list(trial.intermediate_values) == [1, 2]
        assert trial.user_attrs["superseded"]
