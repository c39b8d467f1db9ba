"""The replay of pruners on the recorded curves that the results page tells of."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CURVES = ROOT / "tests" / "benchmarks" / "curves"
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def replay() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replay", CURVES.parent / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["replay"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_correlations_of_the_curves(replay: ModuleType) -> None:
    seeds = replay.read(CURVES / "fashion_seeds.csv")
    joint = replay.read(CURVES / "fashion_joint.csv")
    for epoch in range(1, 10):
        found = replay.correlation(seeds, epoch), replay.within(seeds, epoch)
        cells = (*found, replay.correlation(joint, epoch))
        assert f"| {epoch} | {' | '.join(f'{cell:.2f}' for cell in cells)} |" in PAGE


def test_a_replay_without_a_pruner_loses_nothing_and_takes_all_the_time(
    replay: ModuleType,
) -> None:
    curves = replay.read(CURVES / "fashion_seeds.csv")
    whole = replay.Replay(curves, "none", None).run(0)
    cost = sum(one.cost for one in curves) * 10
    assert (whole.trials, whole.kept) == (70, 4)
    assert whole.time == pytest.approx(cost)
    assert whole.best == max(one.values[-1] for one in curves)


@pytest.mark.parametrize("pruner", ["family", "median", "asha"])
def test_a_pruner_saves_about_the_time_that_the_page_names(replay: ModuleType, pruner: str) -> None:
    curves = replay.read(CURVES / "fashion_seeds.csv")
    told = int(re.search(rf"\| `{pruner}` \| (\d+) %", PAGE)[1])  # type: ignore[index]
    shares = [
        replay.Replay(curves, pruner, None).run(seed).time / sum(one.cost for one in curves) / 10
        for seed in range(3)
    ]
    assert sum(shares) / 3 == pytest.approx(told / 100, abs=0.06)


def test_defaults_come_first_and_no_other_trial_is_protected(replay: ModuleType) -> None:
    curves = replay.read(CURVES / "fashion_joint.csv")
    order = replay.ordered(curves, 1)
    families = {one.family for one in curves}
    assert {one.family for one in order[: len(families)]} == families
    assert all(one.default for one in order[: len(families)])
    assert not any(one.default for one in order[len(families) :])
    assert len(order) == len(curves)
