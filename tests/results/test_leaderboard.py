from autosd.results.leaderboard import best_trial, leaderboard
from autosd.search.records import TrialRecord


def trial(number: int, family: str, value: float | None, state: str = "complete") -> TrialRecord:
    return TrialRecord(
        number=number,
        lineage=number,
        state=state,
        family=family,
        strategies=(family,),
        params={},
        value=value,
        curve=(),
        epochs_run=3,
        seconds=1.0,
        origin="search",
        protected=False,
        why="",
    )


TRIALS = [
    trial(0, "cross_entropy", 0.80),
    trial(1, "masd", 0.84),
    trial(2, "masd", 0.86, "pruned"),
    trial(3, "masd", 0.82),
    trial(4, "toast", None, "failed"),
    trial(5, "masd", None, "diverged"),
]


def test_best_complete_trial_of_each_family_best_first():
    rows = leaderboard(TRIALS, ["cross_entropy", "masd", "toast"])
    assert [(row.family, row.value, row.trial) for row in rows] == [
        ("masd", 0.84, 1),
        ("cross_entropy", 0.80, 0),
        ("toast", None, None),
    ]


def test_trials_are_counted_by_their_end():
    masd = leaderboard(TRIALS, ["masd"])[0]
    assert (masd.complete, masd.pruned, masd.failed) == (2, 2, 0)


def test_gain_is_against_cross_entropy():
    rows = {row.family: row for row in leaderboard(TRIALS, ["cross_entropy", "masd", "toast"])}
    assert abs(rows["masd"].gain - 0.04) < 1e-12
    assert rows["cross_entropy"].gain == 0.0
    assert rows["toast"].gain is None


def test_a_loss_is_sorted_the_other_way():
    rows = leaderboard(TRIALS, ["cross_entropy", "masd"], minimise=True)
    assert [(row.family, row.value) for row in rows] == [("cross_entropy", 0.80), ("masd", 0.82)]


def test_the_first_of_equal_trials_is_the_best():
    equal = [trial(0, "a", 0.5), trial(1, "b", 0.5)]
    assert best_trial(equal).number == 0
    assert best_trial([]) is None
