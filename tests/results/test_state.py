"""What is said of a study."""

from pathlib import Path

from autosd.recipe import StudyDefinition
from autosd.results.state import read
from autosd.search import ending, ledger
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close

RECIPE = {"data": "digits", "epochs": 1}


def test_a_study_that_finds_nothing_new_is_exhausted(tmp_path: Path):
    values = {"name": "s", "recipe": RECIPE, "space": "x", "trials": 5}
    definition = StudyDefinition.parse(values)
    space = Space.parse({"families": {"cross_entropy": {"members": ["cross_entropy"]}}})
    folder = StudyFolder.prepare(tmp_path, definition, space)
    study = folder.load(read_only=False)
    first, _ = ledger.ask(study, space, definition.recipe)
    ledger.tell_complete(study, first, 0.5)
    assert read("s", tmp_path).ended == ""
    while ending.goes_on(ledger.census(study), definition.trials):
        again, _ = ledger.ask(study, space, definition.recipe)
        ledger.tell_duplicate(study, again, ledger.trials(study)[0])
    close(study)
    state = read("s", tmp_path)
    assert state.ended.startswith("the space is exhausted after 1 of")
    assert (state.counts.complete, state.counts.duplicates) == (1, 20)
