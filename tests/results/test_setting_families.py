"""Settings of the recipe as families: searched, named and told like any strategy."""

import pytest

from autosd.recipe import StudyDefinition
from autosd.results.found import Found, search
from autosd.search.ready import check

SETTINGS = {
    "erasing": ("augment.erase", 0.5),
    "trivial": None,
    "ema": ("average.momentum", 0.999),
    "swa": None,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Every family's default, and some more trials."""
    root = tmp_path_factory.mktemp("settings")
    (root / "mine.yaml").write_text("strategies: {erasing: , trivial: , ema: , swa: }\n")
    definition = {
        "name": "settings",
        "recipe": {"data": "digits", "model": "resnet8", "epochs": 1, "batch_size": 64},
        "space": str(root / "mine.yaml"),
        "trials": 9,
        "sampler": "random",
        "finalists": {"count": 0},
    }
    return search(check(StudyDefinition.parse(definition)), root / "runs", engine="inline")


def test_each_is_a_row_of_the_leaderboard(found: Found) -> None:
    rows = {row.family: row for row in found.rows}
    assert set(rows) == {"cross_entropy", *SETTINGS}
    assert all(row.value is not None for row in rows.values())


def test_the_dashboard_shows_its_name_and_its_knob(found: Found) -> None:
    for record in found.outcome.folder.records():
        knob = SETTINGS.get(record.family)
        assert record.params["strategy"] == record.family
        assert set(record.params) == {"strategy", *([knob[0]] if knob else [])}
        assert record.strategies == ("cross_entropy",)
        if knob and record.origin == "default":
            assert record.params[knob[0]] == knob[1]


def test_its_recipe_has_the_setting(found: Found) -> None:
    folder, base = found.outcome.folder, found.outcome.folder.definition.recipe
    space = folder.space
    settings = {name: space.recipe(space.default_params(name), base).mapping() for name in SETTINGS}
    assert settings["erasing"]["augment"]["erase"] == 0.5
    assert settings["trivial"]["augment"]["policy"] == "trivial"
    assert settings["ema"]["average"] == {"kind": "ema", "momentum": 0.999}
    assert settings["swa"]["average"]["kind"] == "swa"
