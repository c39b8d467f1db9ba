"""A search at equal compute: what an epoch means to the record and the pruners."""

import pytest

from autosd.recipe import StudyDefinition
from autosd.search.lists import read_records
from autosd.search.progress import Progress, Quiet
from autosd.search.ready import check
from autosd.search.run import Outcome, run_search

SPACE = "strategies: {cross_entropy: , ddgsd: {temperature: {uniform: [1, 8], default: 4}}}"


class Seen(Quiet):
    """Every number of planned epochs that a running trial was shown with after its first epoch."""

    def __init__(self) -> None:
        self.planned: set[tuple[str, int]] = set()

    def progress(self, progress: Progress) -> None:
        self.planned |= {(one.name, one.epochs) for one in progress.running if one.epoch}


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, seen: Seen) -> Outcome:
    folder = tmp_path_factory.mktemp("compute")
    (folder / "two.yaml").write_text(SPACE)
    definition = StudyDefinition.parse(
        {
            "name": "compute",
            "recipe": {
                "data": {"name": "digits", "split": {"val": 300, "select": 900}},
                "model": "resnet8",
                "epochs": 4,
                "budget": "compute",
                "batch_size": 64,
            },
            "space": str(folder / "two.yaml"),
            "trials": 3,
            "finalists": {"count": 2, "seeds": 1},
        }
    )
    return run_search(check(definition), folder / "runs", engine="inline", watch=seen)


def test_an_epoch_stands_at_its_share_of_the_budget(outcome: Outcome) -> None:
    """DDGSD has two passes for each image, so it trains 2 epochs for 4 of plain training."""
    steps = {
        record.family: [step for step, _ in record.curve] for record in outcome.folder.records()
    }
    assert steps == {"cross_entropy": [1, 2, 3, 4], "ddgsd": [2, 4]}


def test_epochs_run_are_epochs(outcome: Outcome) -> None:
    epochs = {record.family: record.epochs_run for record in outcome.folder.records()}
    assert epochs == {"cross_entropy": 4, "ddgsd": 2}


def test_progress_shows_the_planned_epochs(outcome: Outcome, seen: Seen) -> None:
    assert ("cross_entropy", 4) in seen.planned
    assert ("ddgsd", 2) in seen.planned
    assert not any(name.startswith("ddgsd") and epochs == 4 for name, epochs in seen.planned)


def test_finalists_have_the_same_budget(outcome: Outcome) -> None:
    records = read_records(outcome.folder.finalists)
    epochs = {record.strategies: record.epochs for record in records}
    assert epochs == {("cross_entropy",): 4, ("ddgsd",): 2}
