"""The replay of pruners on the recorded curves that the results page tells of."""

import csv
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CURVES = ROOT / "tests" / "benchmarks" / "curves"
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def replay() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replay", CURVES.parent / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["replay"] = module
    spec.loader.exec_module(module)
    return module


def table(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_text(rows: Iterable[dict[str, object]]) -> list[dict[str, str]]:
    return [{key: str(value) for key, value in row.items()} for row in rows]


@pytest.mark.parametrize("name", ["seeds", "joint"])
def test_the_page_holds_the_ranks_of_the_curves(replay: ModuleType, name: str) -> None:
    curves = replay.read(CURVES / f"fashion_{name}.csv")
    assert as_text(replay.ranked(curves)) == table(f"ranks_{name}.csv")


def test_the_page_holds_the_places_of_the_families(replay: ModuleType) -> None:
    curves = replay.read(CURVES / "fashion_seeds.csv")
    assert as_text(replay.risen(curves)) == table("families_seeds.csv")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "orders", "budget"), [("seeds", 200, 30.0), ("joint", 50, 70.0)])
def test_the_page_holds_what_the_pruners_cost(
    replay: ModuleType, name: str, orders: int, budget: float
) -> None:
    curves = replay.read(CURVES / f"fashion_{name}.csv")
    assert as_text(replay.pruned(curves, orders, budget, 2)) == table(f"pruners_{name}.csv")


def test_a_patient_pruner_stops_less(replay: ModuleType) -> None:
    curves = replay.read(CURVES / "fashion_seeds.csv")
    soon, later = (
        replay.Replay(curves, name, None).run(3) for name in ("family", "family after 20 trials")
    )
    assert soon.time < later.time < sum(each.cost for each in curves) * 10


def test_a_replay_without_a_pruner_loses_nothing_and_takes_all_the_time(
    replay: ModuleType,
) -> None:
    curves = replay.read(CURVES / "fashion_seeds.csv")
    whole = replay.Replay(curves, "none", None).run(0)
    cost = sum(one.cost for one in curves) * 10
    assert (whole.trials, whole.kept) == (70, 4)
    assert whole.time == pytest.approx(cost)
    assert whole.best == max(one.values[-1] for one in curves)


def test_the_order_of_the_trials_decides_what_a_pruner_stops(replay: ModuleType) -> None:
    curves = replay.read(CURVES / "fashion_seeds.csv")
    one, same, other = (replay.Replay(curves, "family", None).run(seed) for seed in (1, 1, 2))
    assert one == same
    assert one.time != other.time
    assert one.time < sum(each.cost for each in curves) * 10


def test_defaults_come_first_and_no_other_trial_is_protected(replay: ModuleType) -> None:
    curves = replay.read(CURVES / "fashion_joint.csv")
    order = replay.ordered(curves, 1)
    families = {one.family for one in curves}
    assert {one.family for one in order[: len(families)]} == families
    assert all(one.default for one in order[: len(families)])
    assert not any(one.default for one in order[len(families) :])
    assert len(order) == len(curves)
