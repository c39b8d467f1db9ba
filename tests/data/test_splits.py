import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosd.data.splits import PARTS, allocate, make_split, shuffle_keys
from autosd.errors import AutosdError
from autosd.recipe import SplitSpec

DEFAULTS = SplitSpec()
class_counts = st.lists(st.integers(8, 120), min_size=2, max_size=12)


def labels_of(counts: list[int], seed: int = 0) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


def names(counts: list[int]) -> list[str]:
    return [f"class {k}" for k in range(len(counts))]


@given(class_counts, st.integers(0, 2**31))
def test_parts_are_disjoint_and_cover_everything(counts: list[int], seed: int) -> None:
    labels = labels_of(counts)
    split = make_split(
        labels, {"train": len(labels)}, SplitSpec(seed=seed), DEFAULTS, names(counts)
    )
    assert list(split.rows) == list(PARTS)
    everything = np.concatenate(list(split.rows.values()))
    assert np.array_equal(np.sort(everything), np.arange(len(labels)))
    assert all(np.array_equal(rows, np.sort(rows)) for rows in split.rows.values())


@given(class_counts, st.integers(0, 2**31))
def test_every_part_has_each_class_in_its_proportion(counts: list[int], seed: int) -> None:
    labels = labels_of(counts)
    split = make_split(
        labels, {"train": len(labels)}, SplitSpec(seed=seed), DEFAULTS, names(counts)
    )
    for part in ("val", "select", "test"):
        rows = split.rows[part]
        share = len(rows) / len(labels)
        found = np.bincount(labels[rows], minlength=len(counts))
        assert np.all(np.abs(found - np.array(counts) * share) <= 2)
        assert len(rows) < len(counts) or found.min() >= 1
    assert np.bincount(labels[split.rows["train"]], minlength=len(counts)).min() >= 1


@given(class_counts, st.integers(0, 1000))
def test_a_split_follows_from_its_seed_alone(counts: list[int], seed: int) -> None:
    labels = labels_of(counts)
    official = {"train": len(labels)}
    split = make_split(labels, official, SplitSpec(seed=seed), DEFAULTS, names(counts))
    again = make_split(labels, official, SplitSpec(seed=seed), DEFAULTS, names(counts))
    other = make_split(labels, official, SplitSpec(seed=seed + 1), DEFAULTS, names(counts))
    assert split.hash == again.hash
    assert split.hash != other.hash
    assert split.counts == other.counts


@given(
    st.lists(st.integers(2, 50), min_size=1, max_size=20),
    st.floats(0, 1),
)
@settings(max_examples=200)
def test_allocation_meets_its_total_within_every_room(counts: list[int], share: float) -> None:
    array = np.array(counts)
    room = array - 1
    total = round(share * int(room.sum()))
    taken = allocate(array, total, room)
    assert taken.sum() == total
    assert np.all((taken >= 0) & (taken <= room))
    if total >= len(counts):
        assert taken.min() >= 1


def test_the_shuffle_is_the_published_one() -> None:
    """First outputs of SplitMix64 from state 0, as in its authors' reference code."""
    seed_key = np.uint64(0xE220A8397B1DCDAF)
    with np.errstate(over="ignore"):
        rows = np.array([0], dtype=np.uint64) - seed_key
    assert shuffle_keys(0, rows.astype(np.int64))[0] == seed_key


@pytest.mark.parametrize(
    ("count", "expected"),
    [(60_000, 6_000), (5_000, 500), (4_000, 500), (3_000, 450), (1_000, 150)],
)
def test_defaults_are_ten_percent_or_up_to_500_of_15_percent(count: int, expected: int) -> None:
    labels = labels_of([count // 10] * 10)
    split = make_split(labels, {"train": count, "test": 7}, SplitSpec(), DEFAULTS, names([0] * 10))
    assert split.counts == {
        "train": count - 2 * expected,
        "val": expected,
        "select": expected,
        "test": 7,
    }


def test_a_missing_test_part_is_one_sixth() -> None:
    split = make_split(labels_of([300, 300]), {"train": 600}, SplitSpec(), DEFAULTS, ["a", "b"])
    assert split.counts == {"train": 350, "val": 75, "select": 75, "test": 100}


def test_counts_and_shares_of_the_recipe_win() -> None:
    asked = SplitSpec(val=30, select=0.25, test=0.5)
    split = make_split(labels_of([200, 200]), {"train": 400}, asked, DEFAULTS, ["a", "b"])
    assert split.counts == {"train": 120, "val": 30, "select": 50, "test": 200}


def test_an_official_val_is_the_val_part() -> None:
    official = {"train": 200, "val": 60, "test": 40}
    split = make_split(labels_of([130, 130]), official, SplitSpec(), DEFAULTS, ["a", "b"])
    assert np.array_equal(split.rows["val"], np.arange(200, 260))
    assert np.array_equal(split.rows["test"], np.arange(260, 300))
    assert split.counts["select"] == 30


def test_asking_for_a_size_of_val_pools_it_with_train() -> None:
    official = {"train": 200, "val": 60, "test": 40}
    split = make_split(labels_of([130, 130]), official, SplitSpec(val=52), DEFAULTS, ["a", "b"])
    assert split.counts == {"train": 169, "val": 52, "select": 39, "test": 40}
    assert set(split.rows["val"].tolist()) != set(range(200, 252))


def test_an_official_test_part_cannot_be_resized() -> None:
    with pytest.raises(AutosdError, match=r"data\.split\.test: the data set has its own"):
        make_split(
            labels_of([50, 50]), {"train": 100, "test": 9}, SplitSpec(test=5), DEFAULTS, ["a", "b"]
        )


def test_too_few_images_of_a_class_are_said_clearly() -> None:
    with pytest.raises(AutosdError, match="'rare' has 3; each class needs at least 4"):
        make_split(labels_of([50, 3]), {"train": 53}, SplitSpec(), DEFAULTS, ["often", "rare"])


def test_parts_that_leave_nothing_to_train_are_refused() -> None:
    with pytest.raises(AutosdError, match="val 60 \\+ select 50 leave no training image of 100"):
        make_split(
            labels_of([50, 50]),
            {"train": 100, "test": 9},
            SplitSpec(val=60, select=50),
            DEFAULTS,
            ["a", "b"],
        )


def test_a_part_that_would_empty_a_class_is_refused() -> None:
    with pytest.raises(AutosdError, match="99 images cannot be taken with one of each class"):
        make_split(
            labels_of([52, 50]),
            {"train": 102, "test": 9},
            SplitSpec(val=99, select=1),
            DEFAULTS,
            ["a", "b"],
        )
