"""Shares of GPUs: what fits, what a recipe needs, and that no job waits for ever or in vain."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import drive
import gpus
import pytest
import torch
from gpus import GIB, TOTAL
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autosd.errors import AutosdError
from autosd.recipe import SlotSpec
from autosd.search.capacity import (
    PARTS,
    Room,
    gpus_for,
    part_of_gpu,
    processors,
    room_on,
    slots_for,
)
from autosd.search.jobs import DONE, WAIT, Job, Result
from autosd.search.needs import CONTEXT_BYTES, FILE, Needs, in_words
from autosd.search.packed import Packed

SHARES = st.lists(st.sampled_from([1 / part for part in PARTS]), max_size=60)


# Room


@given(st.integers(1, 200), st.floats(0.01, 1) | st.integers(1, 4).map(float))
def test_gpus_of_jobs_have_room_for_them_and_one_less_has_not(jobs: int, share: float) -> None:
    cards = gpus_for(jobs, share)
    assert room_on(cards, share) >= jobs
    assert share > 1 or room_on(cards - 1, share) < jobs


@pytest.mark.parametrize(
    ("jobs", "share", "cards"), [(2, 0.6, 2), (3, 0.6, 3), (4, 0.5, 2), (3, 2, 6), (5, 0, 0)]
)
def test_jobs_of_a_share_take_so_many_gpus(jobs: int, share: float, cards: int) -> None:
    assert gpus_for(jobs, share) == cards


@given(st.floats(0, 2))
def test_share_covers_the_need_unless_that_is_more_than_a_gpu(need: float) -> None:
    share = part_of_gpu(need)
    assert share == 1 or need <= share
    assert 1 / share == pytest.approx(round(1 / share))


@given(SHARES)
def test_no_gpu_is_given_away_twice_and_what_is_given_back_is_free(shares: list[float]) -> None:
    room = Room(["a", "b"])
    taken = [name for name, share in enumerate(shares) if room.take(str(name), share)]
    assert sum(shares[name] for name in taken) <= 2 + 1e-6
    for name in taken:
        room.give(str(name))
    assert room.take("x", 1.0)
    assert room.take("y", 1.0)
    assert not room.fits(1 / 16)


def test_job_goes_where_the_least_room_is_that_is_enough() -> None:
    room = Room(["a", "b"])
    assert all(room.take(str(n), share) for n, share in enumerate([1 / 2, 1 / 3]))
    assert room.take("whole", 1.0)
    assert not room.fits(1 / 4)


def test_share_is_never_spread_over_two_gpus() -> None:
    room = Room(["a", "b"])
    assert all(room.take(str(n), 1 / 2) for n in range(4))
    room.give("0")
    room.give("2")
    assert not room.fits(1.0)


@pytest.mark.parametrize("part", PARTS)
def test_gpu_is_full_with_so_many_equal_jobs(part: int) -> None:
    room = Room(["a"])
    assert [room.take(str(n), 1 / part) for n in range(part + 1)] == [True] * part + [False]


# Needs


def job(strategy: str = "masd", batch_size: int = 128, **changes: object) -> Job:
    values = {**gpus.recipe(strategy, batch_size).mapping(), **changes}
    return Job("trials/0001", values, "", gpus=1.0)


def memory(gib: float, total: int = TOTAL) -> dict[str, int]:
    return {"bytes": int(gib * GIB), "total_bytes": total}


def test_nothing_is_known_at_first_so_a_job_gets_a_whole_gpu() -> None:
    assert Needs().share(job()) == 1


def test_known_recipe_gets_its_peak_with_a_margin_and_the_context() -> None:
    needs = Needs()
    needs.learn(job(), memory(5))
    assert needs.share(job()) == 1 / 3
    assert 1 / 4 * TOTAL < 1.2 * 5 * GIB + CONTEXT_BYTES < 1 / 3 * TOTAL


def test_seed_length_and_fractions_decide_no_size() -> None:
    needs = Needs()
    needs.learn(job(), memory(5))
    other = job(seed=7, epochs=3, optimizer={**job().recipe["optimizer"], "lr": 0.5})
    knobs = [{"masd": {"mask_ratio": 0.3, "num_taps": 2}}]
    assert needs.share(other) == 1 / 3
    needs.learn(job(strategies=knobs), memory(2))
    knobs = [{"masd": {"mask_ratio": 0.7, "num_taps": 2}}]
    assert needs.share(job(strategies=knobs)) == 1 / 8


def test_same_strategies_with_other_knobs_get_more_and_others_most() -> None:
    needs = Needs()
    needs.learn(job(), memory(5))
    assert needs.share(job(strategies=[{"masd": {"num_taps": 3}}])) == 1 / 2
    assert needs.share(job("toast")) == 1 / 2
    needs.learn(job("cross_entropy"), memory(1))
    assert needs.share(job("toast")) == 1 / 2
    needs.learn(job("masd"), memory(11))
    assert needs.share(job("toast")) == 1


def test_job_that_runs_alone_gets_all_of_the_gpu() -> None:
    needs = Needs()
    needs.learn(job(), memory(1))
    assert needs.share(replace(job(), alone=True)) == 1
    assert replace(job(), gpus=0.25, alone=True).gpu_share == 1


def test_refused_recipe_gets_a_whole_gpu_until_more_of_it_is_measured() -> None:
    needs = Needs()
    needs.learn(job(), memory(1))
    needs.refuse(job())
    needs.learn(job(), memory(0.5))
    assert needs.share(job()) == 1
    needs.learn(job(), memory(5))
    assert needs.share(job()) == 1 / 3


def test_largest_peak_of_a_recipe_is_kept() -> None:
    needs = Needs()
    for gib in (1, 9, 2):
        needs.learn(job(), memory(gib))
    assert needs.share(job()) == 1 / 2


def test_smallest_of_several_gpus_counts() -> None:
    needs = Needs()
    for total in (TOTAL, TOTAL // 2, TOTAL):
        needs.learn(job(), memory(2, total))
    assert needs.share(job()) == 1 / 4


def test_measurements_survive_and_another_gpu_is_heard_of(tmp_path: Path) -> None:
    Needs(tmp_path / FILE).learn(job(), memory(5))
    later = Needs(tmp_path / FILE)
    assert later.share(job()) == 1 / 3
    later.learn(job(), memory(1, 4 * TOTAL))
    assert later.share(job()) == 1 / 8
    assert later.describe() == "1 recipe measured: 5 of 96 GiB, so 1/8 of a GPU each"


ONE = '{"base": "b", "strategies": "s", "peak_bytes": %s}'


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[]", '{"recipes": {"x": {}}}', '{"recipes": []}'],
        f'{{"recipes": {{"x": {ONE % 1}}}, "total_bytes": 0}}',
        f'{{"recipes": {{"x": {ONE % "[]"}}}, "total_bytes": 9}}',
    ],
)
def test_table_that_cannot_be_read_is_measured_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)
    needs = Needs(tmp_path / FILE)
    assert needs.share(job()) == 1
    assert f"{tmp_path / FILE}: cannot be read" in caplog.text
    needs.learn(job(), memory(5))
    assert Needs(tmp_path / FILE).share(job()) == 1 / 3


# Packed


class Machine:
    """An engine of two GPUs in no time: every round each running job trains one epoch."""

    def __init__(self, bridge: Packed, slots: int, epochs: Callable[[Job], int]) -> None:
        self.bridge, self.slots, self.epochs = bridge, slots, epochs
        self.running: dict[str, Job] = {}
        self.done: dict[str, int] = {}
        self.order: list[tuple[str, float]] = []
        self.seen: list[int] = []
        self.look: Callable[[], object] = lambda: None

    def run(self) -> None:
        """Until the bridge has no more; a round in which nothing runs is a deadlock."""
        answer: object = WAIT
        while self.running or answer is not DONE:
            answer = self.fill()
            assert self.running or answer is DONE
            self.check()
            self.seen.append(len(self.running))
            self.look()
            for task in list(self.running.values()):
                self.train(task)

    def fill(self) -> object:
        """Ask for jobs until there is none."""
        answer: object = None
        while len(self.running) < self.slots:
            answer = self.bridge.ask()
            if not isinstance(answer, Job):
                return answer
            self.order.append((answer.key, answer.gpus))
            self.running[answer.key] = answer
        return answer

    def check(self) -> None:
        """What runs has room on two GPUs, in bytes as well."""
        fair = Room("01")
        for task in sorted(self.running.values(), key=lambda one: -one.gpus):
            assert fair.take(task.key, task.gpus)

    def train(self, task: Job) -> None:
        if gpus.refused(task):
            del self.running[task.key]
            self.bridge.complete(task, gpus.out_of_memory(0), None)
            return
        epoch = self.done[task.key] = self.done.get(task.key, 0) + 1
        done = epoch >= self.epochs(task)
        sent = result(epoch, gpus.takes(task), done)
        if done or not self.bridge.report(task, sent):
            del self.running[task.key]
            self.bridge.complete(task, sent, None)


def result(epoch: int, peak: int, done: bool) -> Result:
    return {
        "epoch": epoch,
        "history": [{"epoch": epoch, "evaluated": {"val": {"top1": 0.5}}}],
        "done": done,
        "result": {"val": {"top1": 0.5}} if done else None,
        "failure": None,
        "seconds": 0.1,
        "worker": {"pid": 1, "host": "here", "device": "cuda"},
        "gpu": {"bytes": peak, "total_bytes": TOTAL},
    }


def test_every_run_of_a_list_gets_its_turn_and_small_ones_share(tmp_path: Path) -> None:
    runs = gpus.runs(40)
    bridge = gpus.list_of(tmp_path / "s" / "finalists", runs)
    machine = Machine(Packed(bridge, lambda: "01"), 20, lambda task: 3)
    machine.run()
    assert bridge.failures == {}
    assert {path.parent.name for path in tmp_path.glob("s/finalists/*/result.json")} == {
        run.name for run in runs
    }
    assert max(machine.seen) >= 6
    known = json.loads((tmp_path / "s" / FILE).read_text())
    assert len(known["recipes"]) == len({run.label for run in runs})


def test_first_run_goes_on_in_its_share_once_that_is_known(tmp_path: Path) -> None:
    some = [gpus.Run("a", gpus.recipe("masd", 128, seed)) for seed in range(9)]
    bridge = Packed(gpus.list_of(tmp_path / "s" / "finalists", some), lambda: "0")
    first = bridge.ask()
    assert isinstance(first, Job)
    assert first.gpus == 1
    assert bridge.ask() is WAIT
    sent = result(1, gpus.takes(first), False)
    assert not bridge.report(first, sent)
    bridge.complete(first, sent, None)
    again = [bridge.ask() for _ in range(9)]
    assert again[0] == replace(first, gpus=1 / 8)
    assert [answer is WAIT for answer in again] == [False] * 8 + [True]


def test_run_that_needs_a_whole_gpu_is_not_passed_over(tmp_path: Path) -> None:
    sizes = [128, 128, 1024, 128, 128, 128, 128]
    runs = [gpus.Run(str(n), gpus.recipe("toast", size, n)) for n, size in enumerate(sizes)]
    folder = tmp_path / "s" / "finalists"
    needs = Needs(tmp_path / "s" / FILE)
    (tmp_path / "s").mkdir()
    for run in runs[1:3]:
        task = Job("x", run.recipe.mapping(), "")
        needs.learn(task, {"bytes": gpus.takes(task), "total_bytes": TOTAL})
    machine = Machine(Packed(gpus.list_of(folder, runs), lambda: "0"), 20, lambda task: 3)
    machine.run()
    assert [key for key, _ in machine.order] == [f"finalists/{run.name}" for run in runs]


def test_guess_that_was_too_small_is_tried_again_with_nothing_beside_it(tmp_path: Path) -> None:
    names = ["cross_entropy", "toast", *["cross_entropy"] * 6, "toast"]
    some = [gpus.Run(name, gpus.recipe(name, 128, seed)) for seed, name in enumerate(names)]
    bridge = gpus.list_of(tmp_path / "s" / "finalists", some)
    machine = Machine(Packed(bridge, lambda: "0"), 3, lambda task: 3)
    machine.run()
    assert [(key, share) for key, share in machine.order if "toast" in key] == [
        ("finalists/toast-1", 1 / 8),
        ("finalists/toast-8", 1.0),
        ("finalists/toast-8", 1 / 4),
        ("finalists/toast-1", 1.0),
    ]
    assert bridge.failures == {}


def test_trial_without_room_waits_in_the_record_until_it_can_start(tmp_path: Path) -> None:
    definition = drive.definition(6)
    with drive.StudyLock(drive.lock_path(tmp_path, "s")) as lock:
        folder = drive.StudyFolder.prepare(tmp_path, definition, drive.SPACE)
        study = drive.opened(folder)
        drive.ledger.enqueue_defaults(study, folder.space)
        search = drive.search(folder, study, lock)
        bridge = drive.StudyBridge(search, drive.Meter(4))
        machine = Machine(Packed(bridge, lambda: "0"), 4, lambda task: drive.EPOCHS)
        shown: list[int] = []
        machine.look = lambda: shown.append(drive.ledger.counts(study).running)
        machine.run()
        assert shown == machine.seen
        assert drive.ledger.counts(study).counted == 6
        drive.close(study)


# The definition


@pytest.mark.parametrize(
    ("given", "gpus_", "share"), [("auto", "auto", 1), ("0.5", 0.5, 0.5), (2, 2, 2)]
)
def test_gpus_of_a_trial_are_a_number_or_auto(given: object, gpus_: object, share: float) -> None:
    each = SlotSpec.model_validate({"gpus": given})
    assert (each.gpus, each.share) == (gpus_, share)


@pytest.mark.parametrize("given", ["some", -1, 1.5, None])
def test_other_gpus_are_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        SlotSpec.model_validate({"gpus": given})


def test_auto_has_as_many_slots_as_cores_and_no_more_than_a_gpu_can_be_divided_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    auto = SlotSpec(cpus=1, gpus="auto")
    assert slots_for(None, auto) == min(processors(), 32)
    assert slots_for(32, auto) == 32
    with pytest.raises(AutosdError, match="room for 32"):
        slots_for(33, auto)


def test_share_and_its_reason_are_one_line(tmp_path: Path) -> None:
    assert in_words(tmp_path, 0.0) == ""
    assert in_words(tmp_path, 0.5) == "0.5 for each run, as asked for"
    assert "the first run gets a whole one" in in_words(tmp_path, "auto")
    needs = Needs(tmp_path / FILE)
    needs.learn(job(), memory(1))
    needs.learn(job("toast"), memory(5))
    told = "2 recipes measured: 1 to 5 of 24 GiB, so 1/8 to 1/3 of a GPU each"
    assert in_words(tmp_path, "auto") == told
