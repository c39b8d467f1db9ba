"""Small parts of the engine: curve on disk, meter, scratch folder, signals."""

import fcntl
import os
import signal
from pathlib import Path

import pytest
import torch

from autosd.errors import AutosdError
from autosd.recipe import SlotSpec
from autosd.search import curve, scratch
from autosd.search.capacity import crowding, processors, room_on, slots_for
from autosd.search.curve import Curve
from autosd.search.engines import slots_of
from autosd.search.interrupts import held, raised
from autosd.search.meter import Meter, Use
from autosd.search.progress import seconds_left
from autosd.search.scratch import Scratch


def test_line_torn_by_a_crash_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"epoch": 1, "loss": 2.0}\n{"epoch": 2, "lo')
    Curve(path).add([{"epoch": 1, "loss": 9.0}, {"epoch": 2, "loss": float("nan")}])
    assert curve.read(path) == [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": None}]


def test_a_curve_with_a_line_that_is_no_record_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for garbled in ('{"epoch": 1}\n{"epo\n', '{"epoch": 1}\n3\n', '{"loss": 1}\n', "\0\0\n"):
        path.write_text(garbled)
        with pytest.raises(AutosdError, match=r"history.jsonl:\d: not the record .* move it away"):
            Curve(path)
        assert path.read_text() == garbled


def test_meter_counts_from_the_first_step_to_the_last() -> None:
    now = [100.0]
    meter = Meter(2, Use(busy=1.0, slots=2.0, seconds=3.0), clock=lambda: now[0])
    assert meter.use() == Use(busy=1.0, slots=2.0, seconds=3.0)
    now[0] = 110.0
    meter.step(4.0)
    now[0] = 114.0
    meter.step(4.0)
    now[0] = 120.0
    assert meter.use() == Use(busy=9.0, slots=2.0 + 2 * 8.0, seconds=23.0)
    assert Use.of({}).share is None


def test_time_left_follows_the_pace_so_far() -> None:
    assert seconds_left(10.0, 0, 5, 2) is None
    assert seconds_left(10.0, 9, 10, 2) == pytest.approx(10.0)
    assert seconds_left(10.0, 4, 0, 2) == 0


def test_scratch_folder_is_gone_after_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    with Scratch() as folder:
        assert len(str(folder.path)) <= scratch.MOST_CHARACTERS
        (folder.path / "session").mkdir()
    assert not folder.path.exists()


def test_scratch_folders_of_killed_runs_are_removed_and_those_of_living_ones_kept(
    tmp_path: Path,
) -> None:
    for name in ("asd-dead", "asd-living", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".owner").touch()
    with (tmp_path / "asd-living/.owner").open() as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        scratch.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"asd-living", "other"}


def write(record: list[str]) -> None:
    """A record during which a signal comes."""
    with raised(), held():
        os.kill(os.getpid(), signal.SIGTERM)
        record.append("whole")


def test_signal_waits_until_a_record_is_written() -> None:
    record: list[str] = []
    with pytest.raises(KeyboardInterrupt) as stopped:
        write(record)
    assert record == ["whole"]
    assert stopped.value.args == (signal.SIGTERM,)


def clear_up(record: list[str]) -> None:
    """A run that is stopped, and signalled again while it clears up."""
    with raised():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            record.append("all")


def test_second_signal_does_not_cut_clearing_up_short() -> None:
    record: list[str] = []
    with pytest.raises(KeyboardInterrupt) as stopped:
        clear_up(record)
    assert record == ["all"]
    assert stopped.value.args == (signal.SIGINT,)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with raised():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_slots_fill_the_machine_unless_asked_otherwise() -> None:
    assert slots_for(None, SlotSpec()) == processors() >= 1
    assert slots_for(7, SlotSpec()) == 7
    with pytest.raises(AutosdError, match="this machine has"):
        slots_for(None, SlotSpec(cpus=100_000))


def test_gpus_have_no_room_for_more_slots_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    half = SlotSpec(cpus=1, gpus=0.5)
    assert slots_for(4, half) == 4
    with pytest.raises(AutosdError, match=r"--slots.* 5 .*--gpus-per-trial.* room for 4"):
        slots_for(5, half)


def test_one_process_needs_room_on_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slots_of("inline", None, SlotSpec(cpus=100_000)) == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(AutosdError, match="1 GPUs, this machine has"):
        slots_of("inline", None, SlotSpec(gpus=1))


@pytest.mark.parametrize(
    ("gpus", "share", "room"), [(1, 1 / 3, 3), (2, 0.6, 2), (2, 0.4, 4), (4, 2, 2), (0, 0.5, 0)]
)
def test_job_is_never_spread_over_two_gpus_for_a_share(gpus: int, share: float, room: int) -> None:
    assert room_on(gpus, share) == room


def test_more_slots_than_processors_are_remarked_on() -> None:
    assert crowding(None, SlotSpec()) == crowding(1, SlotSpec()) == ""
    note = crowding(100_000, SlotSpec(cpus=2))
    assert "--slots 100000" in note
    assert "--cpus-per-trial" in note
