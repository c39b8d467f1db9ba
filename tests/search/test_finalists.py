"""Who is confirmed, and the list of runs that does it."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import drive
import pytest

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search import inline
from autosd.search.chain import ChainBridge
from autosd.search.faults import POLICIES, Kind
from autosd.search.finalists import (
    BASELINE,
    Candidate,
    choose,
    default,
    read_finalists,
    runs,
    write_chosen,
)
from autosd.search.floor import Floor
from autosd.search.jobs import DONE, WAIT, Job, Result, failure
from autosd.search.lists import ListBridge, Plan, Run, read_records
from autosd.search.meter import Meter
from autosd.search.records import TrialRecord

BASE = Recipe.parse({"data": "digits", "epochs": 4, "seed": 7})


def trial(number: int, family: str, value: float | None, rate: float = 0.1, **more: Any) -> Any:
    """A finished trial of `drive.SPACE`."""
    params: dict[str, Any] = {"strategy": family, "optimizer.lr": rate}
    if family != BASELINE:
        knob = {"masd": "masd.mask_ratio", "toast": "toast.alpha"}[family]
        params[knob] = more.pop("knob", 0.15)
    fields = {"state": "complete", "origin": "search", "protected": False, **more}
    if fields["origin"] == "default":
        fields["attributes"] = {"default_of": family}
    return TrialRecord(
        number=number,
        lineage=number,
        family=family,
        strategies=(family,),
        params=params,
        value=value,
        curve=(),
        epochs_run=4,
        seconds=1.0,
        why="",
        **fields,
    )


def labels(trials: list[TrialRecord], count: int = 4, minimise: bool = False) -> list[str]:
    return [one.label for one in choose(trials, drive.SPACE, BASE, count, minimise)]


SOME = [
    trial(0, "cross_entropy", 0.90, origin="default"),
    trial(1, "masd", 0.91, origin="default"),
    trial(2, "toast", 0.80, origin="default"),
    trial(3, "masd", 0.95, 0.2),
    trial(4, "masd", 0.94, 0.3),
    trial(5, "masd", 0.93, 0.4),
    trial(6, "cross_entropy", 0.92, 0.2),
    trial(7, "toast", 0.99, 0.2, state="pruned"),
]


def test_best_come_with_cross_entropy_and_the_defaults_of_their_families() -> None:
    assert labels(SOME, 3) == [
        "cross_entropy",
        "masd-default",
        "masd-0003",
        "masd-0004",
        "cross_entropy-0006",
    ]


def test_family_has_at_most_two_of_the_best() -> None:
    assert "masd-0005" not in labels(SOME, 4)
    assert "toast-0002" not in labels(SOME, 3)


def test_default_among_the_best_is_one_candidate() -> None:
    few = [trial(0, "cross_entropy", 0.9, origin="default"), trial(1, "masd", 0.95)]
    assert labels(few) == ["cross_entropy", "masd-default"]
    assert [one.trial for one in choose(few, drive.SPACE, BASE, 4, False)] == [0, None]


def test_equal_recipes_are_one_candidate() -> None:
    twice = [trial(3, "masd", 0.95, 0.2), trial(4, "masd", 0.94, 0.2)]
    assert labels(twice) == ["cross_entropy", "masd-default", "masd-0003"]


def test_smaller_values_win_where_the_objective_is_a_loss() -> None:
    assert labels(SOME, 1, minimise=True) == ["cross_entropy", "toast-default"]


def test_no_finalists_where_none_are_asked_for() -> None:
    assert labels(SOME, 0) == []


def test_cross_entropy_is_a_candidate_of_a_space_without_it() -> None:
    masd = drive.Space.parse({"families": {"masd": {"members": ["masd"]}}})
    baseline = default(masd, BASE, BASELINE)
    assert [strategy.name for strategy in baseline.recipe.strategies] == ["cross_entropy"]


def test_seeds_are_fresh_and_paired() -> None:
    found = runs([Candidate("a", "masd", BASE), Candidate("b", "toast", BASE)], 2)
    assert [run.name for run in found] == ["a-1007", "a-1008", "b-1007", "b-1008"]


# The list


class Scored(drive.FastWorker):
    """Ends with a score on `select` that depends on label and seed."""

    diverges = ""

    def step(self) -> Result:
        result = super().step()
        name = Path(self.job.folder).name
        if self.diverges and name == self.diverges:
            why = failure("diverged", "diverged at epoch 1: supervised")
            return {**result, "done": True, "result": None, "failure": why}
        if result["done"]:
            score = 0.9 + 0.01 * len(name.split("-")[0]) + 0.001 * (self.job.recipe["seed"] % 10)
            result["result"] = {"select": {"top1": score}, "val": {"top1": score}}
        return result


def plan(root: Path, data: str = "d") -> Plan:
    return Plan(root / "finalists", data, Job("", {}, ""))


def candidates() -> list[Candidate]:
    masd = {**BASE.mapping(), "strategies": ["masd"]}
    return [
        Candidate("cross_entropy", BASELINE, BASE, 0, 0.9),
        Candidate("masd-0003", "masd", Recipe.parse(masd), 3, 0.95),
    ]


def confirm(root: Path, worker: Any = Scored, seeds: int = 3) -> ListBridge:
    """Run all candidates and say so."""
    bridge = ListBridge(plan(root), runs(candidates(), seeds))
    inline.run(bridge, worker())
    write_chosen(root / "finalists", candidates(), seeds, "top1", confirmed=True)
    return bridge


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLEEP", "0")


def test_finalists_are_ranked_by_their_mean_on_select(tmp_path: Path) -> None:
    confirm(tmp_path)
    first, second = read_finalists(tmp_path / "finalists")
    assert (first.label, second.label) == ("cross_entropy", "masd-0003")
    assert first.values == pytest.approx((1.037, 1.038, 1.039))
    assert (first.mean, first.sd, first.n) == (pytest.approx(1.038), pytest.approx(0.001), 3)
    assert (second.family, second.trial, second.search_value) == ("masd", 3, 0.95)
    assert second.strategies == ("masd",)
    assert first.folder.name == "cross_entropy-1007"
    assert [one.label for one in read_finalists(tmp_path / "finalists", minimise=True)] == [
        "masd-0003",
        "cross_entropy",
    ]


def test_nobody_is_confirmed_before_the_last_run(tmp_path: Path) -> None:
    bridge = ListBridge(plan(tmp_path), runs(candidates(), 1))
    write_chosen(tmp_path / "finalists", candidates(), 1, "top1", confirmed=False)
    inline.run(bridge, Scored())
    assert read_finalists(tmp_path / "finalists") == []


def test_finalist_with_a_diverged_seed_comes_last(tmp_path: Path) -> None:
    class Diverging(Scored):
        diverges = "cross_entropy-1008"

    bridge = confirm(tmp_path, Diverging)
    ranked = read_finalists(tmp_path / "finalists")
    assert [(one.label, one.n) for one in ranked] == [("masd-0003", 3), ("cross_entropy", 2)]
    assert math.isnan(ranked[1].values[1])
    assert bridge.failures == {"cross_entropy-1008": "diverged at epoch 1: supervised"}


def test_values_keep_their_seeds_where_a_run_was_lost(tmp_path: Path) -> None:
    confirm(tmp_path)
    shutil.rmtree(tmp_path / "finalists/cross_entropy-1007")
    shutil.rmtree(tmp_path / "finalists/masd-0003-1009")
    for one in read_finalists(tmp_path / "finalists"):
        lost = 0 if one.label == "cross_entropy" else 2
        assert [math.isnan(value) for value in one.values] == [place == lost for place in range(3)]
        assert one.n == 2


def test_single_seed_has_no_spread(tmp_path: Path) -> None:
    confirm(tmp_path, seeds=1)
    assert [one.sd for one in read_finalists(tmp_path / "finalists")] == [None, None]


def test_run_with_a_result_is_done(tmp_path: Path) -> None:
    confirm(tmp_path)
    before = (tmp_path / "finalists/masd-0003-1007/result.json").stat()
    again = ListBridge(plan(tmp_path), runs(candidates(), 3))
    assert again.left == 0
    assert again.ask() is DONE
    assert (tmp_path / "finalists/masd-0003-1007/result.json").stat() == before


def test_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    bridge = ListBridge(plan(tmp_path), runs(candidates(), 1))
    job, worker = bridge.ask(), Scored()
    assert isinstance(job, Job)
    worker.begin(job)
    bridge.report(job, worker.step())
    bridge.report(job, worker.step())
    bridge.close()
    assert (Path(job.folder) / "last.pt").exists()
    again = ListBridge(plan(tmp_path), runs(candidates(), 1))
    worker.begin(again.ask())  # type: ignore[arg-type]
    assert worker.step()["epoch"] == 3
    lines = (Path(job.folder) / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_checkpoint_goes_with_the_result(tmp_path: Path) -> None:
    confirm(tmp_path, seeds=1)
    assert not list((tmp_path / "finalists").glob("*/last.pt"))
    record = read_records(tmp_path / "finalists")[0]
    assert (record.label, record.seed, record.epochs) == ("cross_entropy", 1007, drive.EPOCHS)
    assert record.value("select", "top1") == pytest.approx(1.037)


@pytest.mark.parametrize(("data", "rate", "what"), [("e", 0.1, "data"), ("d", 0.3, "recipe")])
def test_folder_of_something_else_is_refused(
    tmp_path: Path, data: str, rate: float, what: str
) -> None:
    confirm(tmp_path, seeds=1)
    optimizer = BASE.optimizer.model_copy(update={"lr": rate})
    other = BASE.model_copy(update={"optimizer": optimizer})
    with pytest.raises(AutosdError, match=f"cross_entropy-1007: was trained .*{what}"):
        ListBridge(plan(tmp_path, data), runs([Candidate("cross_entropy", BASELINE, other)], 1))


def test_finished_run_stays_where_a_recipe_has_got_a_new_key(tmp_path: Path) -> None:
    """Its files know nothing of the key, so its default is what the run was trained with."""
    confirm(tmp_path, seeds=1)
    for path in (tmp_path / "finalists").glob("*/"):
        recipe = yamlfile.read(path / "recipe.yaml")
        del recipe["precision"]
        (path / "recipe.yaml").write_text(yamlfile.dumps(recipe))
        old = json.loads((path / "job.json").read_text()) | {"recipe": "what it was before"}
        (path / "job.json").write_text(json.dumps(old))
    assert ListBridge(plan(tmp_path), runs(candidates(), 1)).left == 0


@pytest.mark.parametrize("kind", ["error", "memory", "worker"])
def test_fault_is_tried_as_often_as_the_table_says_and_then_left_for_the_next_command(
    tmp_path: Path, kind: Kind
) -> None:
    bridge = ListBridge(plan(tmp_path), [Run("a", BASE)])
    for attempt in range(POLICIES[kind].attempts or 0):
        job = bridge.ask()
        assert isinstance(job, Job)
        assert job.alone is (attempt > 0 and kind == "memory")
        bridge.complete(job, None, failure(kind, "out of memory", "Traceback"))
    assert bridge.ask() is DONE
    assert bridge.failures == {"a-7": "out of memory"}
    assert "Traceback" in bridge.folder(bridge.runs[0], "error.txt").read_text()
    assert ListBridge(plan(tmp_path), [Run("a", BASE)]).left == 1


def test_run_that_must_be_alone_waits_for_those_of_another_bridge_and_they_for_it(
    tmp_path: Path,
) -> None:
    floor = Floor(Meter(2))
    others = [Run(label, BASE) for label in "bcd"]
    first = ListBridge(
        Plan(tmp_path / "first", "d", Job("", {}, "")), [Run("a", BASE)], floor=floor
    )
    then = ListBridge(plan(tmp_path), others, floor=floor)
    chain = ChainBridge(first, then, list)
    greedy, beside = chain.ask(), chain.ask()
    assert isinstance(greedy, Job)
    assert isinstance(beside, Job)
    chain.complete(greedy, None, failure("memory", "out of memory"))
    assert chain.ask() is WAIT
    finish(chain, beside)
    again = chain.ask()
    assert isinstance(again, Job)
    assert (again.key, again.alone) == ("first/a-7", True)
    assert chain.ask() is WAIT
    finish(chain, again)
    after = [chain.ask(), chain.ask()]
    assert [job.key for job in after if isinstance(job, Job)] == ["finalists/c-7", "finalists/d-7"]


def test_interrupted_run_is_handed_out_again(tmp_path: Path) -> None:
    bridge = ListBridge(plan(tmp_path), [Run("a", BASE)])
    for _ in range(5):
        job = bridge.ask()
        assert isinstance(job, Job)
        assert bridge.ask() is WAIT
        bridge.complete(job, None, failure("interrupted", "the node was lost"))
    assert isinstance(bridge.ask(), Job)


def test_chain_fills_free_slots_and_chooses_when_the_first_is_done(tmp_path: Path) -> None:
    first = ListBridge(Plan(tmp_path / "first", "d", Job("", {}, "")), [Run("a", BASE)])
    then = ListBridge(plan(tmp_path), [Run("early", BASE)])
    chain = ChainBridge(first, then, lambda: [Run("early", BASE), Run("late", BASE)])
    running, early = chain.ask(), chain.ask()
    assert isinstance(running, Job)
    assert isinstance(early, Job)
    assert (running.key, early.key) == ("first/a-7", "finalists/early-7")
    assert chain.ask() is WAIT
    finish(chain, running)
    late = chain.ask()
    assert isinstance(late, Job)
    assert late.key == "finalists/late-7"
    finish(chain, early)
    assert chain.ask() is WAIT
    finish(chain, late)
    assert chain.ask() is DONE


def finish(bridge: ChainBridge, job: Job) -> None:
    worker = Scored()
    worker.begin(job)
    while not (result := worker.step())["done"]:
        assert bridge.report(job, result)
    bridge.complete(job, result, None)
