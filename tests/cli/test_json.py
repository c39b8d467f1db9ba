"""`docs/json.md` covers every command, and the comparison with it notices what is wrong."""

import pytest
import typer.main

from autosd.cli.main import app

from .documented import assert_documented, sections

COMMANDS = {
    name: [option for parameter in command.params for option in parameter.opts]
    for name, command in typer.main.get_command(app).commands.items()
}


@pytest.mark.parametrize("name", [name for name, opts in COMMANDS.items() if "--json" in opts])
def test_every_command_with_json_has_a_section(name):
    assert any(heading.split()[0] == name for heading in sections())


def test_only_commands_have_a_section():
    assert {heading.split()[0] for heading in sections()} <= set(COMMANDS)


GOOD = {
    "planned": 8, "complete": 5, "pruned": 2, "failed": 1, "running": 0, "waiting": 0,
    "best": None, "utilisation": 0.5, "failures": [{"trial": 3, "state": "failed", "reason": "no"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"news": 1}, "news: is not documented"),
        ({"planned": "8"}, "planned: is '8', documented as integer"),
        ({"planned": True}, "planned: is True"),
        ({"best": {"trial": 1}}, "best.value: is documented and missing"),
        ({"failures": [{"trial": 3, "state": "failed"}]}, "failures\\[\\].reason: is documented"),
    ],
)
def test_a_payload_that_is_not_as_documented_is_noticed(change, fault):
    assert_documented("status", GOOD)
    with pytest.raises(AssertionError, match=fault):
        assert_documented("status", {**GOOD, **change})


def test_a_missing_key_is_noticed():
    with pytest.raises(AssertionError, match="planned: is documented and missing"):
        assert_documented("status", {key: GOOD[key] for key in GOOD if key != "planned"})
