"""Real kills of the real command line: nothing is lost, doubled or changed, and it goes on."""

import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosd.results.verify import verify
from autosd.search.lock import read_owner

from .campaign import EPOCHS, TRIALS, Campaign, Strike, Tally
from .epochs import Epochs, attempts
from .invariants import Witness
from .living import HANG, Living, living, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.ray]

NOTICE = 20.0
"""Seconds after which a driver has noted a dead worker that trained."""
LOSS = 30.0
"""Seconds from the death of a part of Ray to the end of the run; 20 are promised."""
LOST = re.compile(r" ended: (?:worker|node): ")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Living]:
    """Where the commands run; an epoch takes about a third of a second."""
    with living(tmp_path, NOTES=str(tmp_path / "notes"), BATCH_SECONDS="0.015") as found:
        yield found


def driver(place: Living, draw: random.Random) -> bool:
    """The driver alone; its workers end by themselves, and half of the time that is waited for."""
    process = place.commands[-1]
    process.kill()
    process.wait(HANG)
    if draw.random() < 0.5:
        quiet(place)
    return True


def quiet(place: Living) -> None:
    """Wait until no worker is alive."""
    until = time.monotonic() + HANG
    while place.workers():
        assert time.monotonic() < until
        time.sleep(0.05)


def worker(place: Living, draw: random.Random) -> bool:
    """One process that trains; whether the driver, which goes on, has seen a run end so."""
    found, before = place.workers(), lost_workers(place)
    if not found:
        return False
    draw.choice(found).kill()
    until = time.monotonic() + NOTICE
    while lost_workers(place) == before and time.monotonic() < until:
        if place.commands[-1].poll() is not None:
            break
        time.sleep(0.05)
    return lost_workers(place) > before


def lost_workers(place: Living) -> int:
    """Runs that the drivers saw end with their worker."""
    return len(LOST.findall((place.root / "said").read_text()))


def part(name: str) -> Strike:
    """A strike at a part of Ray: the driver ends by itself, and says how to go on."""

    def strike(place: Living, draw: random.Random) -> bool:
        process = place.commands[-1]
        place.part(name).kill()
        assert process.wait(LOSS) in (75, 0), place.said()
        quiet(place)
        return process.returncode == 75

    return strike


def everything(place: Living, draw: random.Random) -> bool:
    """Driver, Ray and workers in the same moment."""
    place.kill_all()
    return True


def restart(place: Living, draw: random.Random) -> bool:
    """Only the disk is left: no process, no temporary folder, and numbers of processes begin anew.

    What the lock's file says of its last owner may then be true of somebody else.
    """
    place.kill_all()
    shutil.rmtree(place.scratch)
    place.scratch.mkdir()
    for lock in place.root.glob("runs/*/.lock"):
        owner = read_owner(lock)
        if owner is not None:
            lock.write_text(lock.read_text().replace(str(owner.pid), str(os.getpid())))
    return True


def test_fifty_kills_of_the_driver(place: Living) -> None:
    Campaign(place, driver, Tally("driver", seed=1), early=0.15).run(kills(50))


def test_thirty_kills_of_a_worker(place: Living) -> None:
    Campaign(place, worker, Tally("worker", seed=2)).run(kills(30))


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_kills_of_a_part_of_ray(place: Living, name: str) -> None:
    Campaign(place, part(name), Tally(name, seed=3)).run(kills(8))


def test_kills_of_everything_at_once(place: Living) -> None:
    Campaign(place, everything, Tally("everything", seed=4), early=0.15).run(kills(10))


def test_restarts_of_the_machine(place: Living) -> None:
    Campaign(place, restart, Tally("restart", seed=5), early=0.15).run(kills(10))


def test_kills_while_the_finalists_are_confirmed(place: Living) -> None:
    few = ("--trials", "4", "--set", "finalists.seeds=5")
    Campaign(place, driver, Tally("finalists", seed=6), few, stage="finalists").run(kills(10))


TOOLS = {
    "retrain": ("retrain", "--seeds", "2"),
    "compare": ("compare", "--strategies", "cross_entropy,label_smoothing", "--seeds", "2"),
    "ensemble": ("ensemble", "--size", "2", "--distill", "--seeds", "2"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_kills_of_a_tool_that_trains(place: Living, name: str) -> None:
    """Driver and everything in turn; no run that was finished is touched."""
    campaign = Campaign(place, driver, Tally(name, seed=7), ("--trials", "3"))
    place.finish(*campaign.words("digits"))
    study, draw, words = place.study("digits"), random.Random(7), (*TOOLS[name], "digits")
    witness, epochs = Witness(study, EPOCHS), Epochs(study, EPOCHS)
    witness.look()
    epochs.look()
    met, begin = 0, time.monotonic()
    for number in range(kills(4)):
        known, process = trained(study), place.start(*words)
        wait_for(lambda k=known: trained(study) > k, process)
        time.sleep(draw.uniform(0, 1.5))
        met += process.poll() is None
        (everything if number % 2 else driver)(place, draw)
        witness.look()
        epochs.look(calm=not place.workers())
    place.finish(*words)
    witness.look()
    epochs.look()
    seconds = time.monotonic() - begin
    print(
        f"\n{name}: {met} kills, {witness.faults}, {len(epochs.faults)} repeated, {seconds:.0f} s"
    )
    assert met, "every command was over before it was killed"
    assert not witness.faults, vars(witness.faults)
    assert not epochs.faults
    assert verify("digits", study.parent, replays=False).whole


def trained(study: Path) -> int:
    """Epochs that were reported so far."""
    return sum(len(one) for all_ in attempts(study).values() for one in all_)


def test_a_killed_stop_leaves_nothing_that_a_later_driver_obeys(place: Living) -> None:
    """`stop` killed at random, and the driver right after it was asked."""
    campaign = Campaign(place, driver, Tally("stop", seed=8), ("--inline",))
    study, draw, words = place.study("digits"), random.Random(8), campaign.words("digits")
    witness = Witness(study, EPOCHS)
    for _ in range(kills(4)):
        known, process = trained(study), place.start(*words)
        assert wait_for(lambda k=known: trained(study) > k, process), place.said()
        asking = place.start("stop", "digits")
        wait_for((study / ".stop").exists, asking)
        time.sleep(draw.uniform(0, 0.3))
        for command in draw.sample([process, asking], 2):
            command.kill()
            command.wait(HANG)
        witness.look()
    place.finish(*words)
    witness.end(TRIALS)
    assert not witness.faults, vars(witness.faults)


def kills(full: int) -> int:
    """How many, or fewer where `$KILLS` says so."""
    return int(os.environ.get("KILLS", full))
