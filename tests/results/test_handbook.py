"""`docs/strategies.md` says what the code says."""

import inspect
import re
from pathlib import Path

import pytest

from autosd.results import handbook
from autosd.strategies.strategy import Strategy, discover

PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"
COMMAND = "python -m autosd.results.handbook docs/strategies.md"


def docstring(strategy: type[Strategy]) -> list[str]:
    """Paragraphs of the strategy's module."""
    module = inspect.getmodule(strategy)
    assert module is not None
    assert module.__doc__
    return re.split(r"\n\n+", inspect.cleandoc(module.__doc__))


def test_the_committed_page_is_what_is_generated(tmp_path: Path) -> None:
    fresh = tmp_path / "strategies.md"
    handbook.main(fresh)
    assert fresh.read_text() == PAGE.read_text(), f"make it anew: {COMMAND}"


@pytest.mark.parametrize("name", list(discover()))
def test_a_strategy_tells_its_source_what_it_does_and_its_formula(name: str) -> None:
    title, source, *body = docstring(discover()[name])
    formulas = [paragraph for paragraph in body if paragraph.startswith("    ")]
    assert re.match(r"[\w' -]+: .+\.(\*\*)?$", title)
    assert name == "cross_entropy" or re.search(r"\b(19|20)\d\d\b", source)
    assert len(formulas) == 1
    assert re.search(r"L = .*CE\(", formulas[0])
    assert not body[0].startswith("    ")


@pytest.mark.parametrize("name", list(discover()))
def test_every_knob_has_a_meaning_and_stands_on_the_page(name: str) -> None:
    page = PAGE.read_text()
    for knob, field in discover()[name].Knobs.model_fields.items():
        assert field.description
        assert f"| `{name}.{knob}` |" in page


def test_every_reading_of_ours_is_named_where_trust_is_discussed() -> None:
    trust = (PAGE.parent / "trust.md").read_text().lower()
    readings = {name for name, each in discover().items() if "our reading" in each.reference}
    assert readings >= {"rskd", "toast", "patch_swap"}
    assert [name for name in readings if name.replace("_", " ") not in trust] == []
