"""`docs/json.md` covers every command, and the comparison with it notices what is wrong."""

import pytest
import typer.main

from autosd.cli.main import app

from .documented import differences, sections, tree

COMMANDS = {
    name: [option for parameter in command.params for option in parameter.opts]
    for name, command in typer.main.get_command(app).commands.items()
}


@pytest.mark.parametrize("name", [name for name, opts in COMMANDS.items() if "--json" in opts])
def test_every_command_with_json_has_a_section(name):
    assert any(heading.split()[0] == name for heading in sections())


def test_only_commands_have_a_section():
    assert {heading.split()[0] for heading in sections()} <= set(COMMANDS)


TABLE = """
| key | type | meaning |
| --- | --- | --- |
| `name` | string | a name |
| `best` | object or null | the best |
| `best.value` | number | its value |
| `rows` | list | rows |
| `rows[].n` | integer | how many |
| `rows[].<part>` | number | by part |
| `seeds` | list | seeds |
| `seeds[]` | integer | one of them |
| `recipe` | object, optional | anything |
"""
GOOD = {"name": "s", "best": None, "rows": [{"n": 1, "val": 0.5, "test": 1}], "seeds": [1, 2]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"news": 1}, "news: is not documented"),
        ({"name": 8}, "name: is 8, documented as string"),
        ({"best": {}}, "best.value: is documented and missing"),
        ({"best": {"value": True}}, "best.value: is True, documented as number"),
        ({"rows": [{"val": 0.5}]}, "rows[].n: is documented and missing"),
        ({"rows": [{"n": 1.5}]}, "rows[].n: is 1.5, documented as integer"),
        ({"rows": [{"n": 1, "val": "x"}]}, "rows[].val: is 'x', documented as number"),
        ({"seeds": ["1"]}, "seeds[]: is '1', documented as integer"),
        ({"recipe": 1}, "recipe: is 1, documented as object"),
    ],
)
def test_a_payload_that_is_not_as_documented_is_noticed(change, fault):
    assert differences(tree(TABLE), GOOD) == []
    assert differences(tree(TABLE), {**GOOD, **change}) == [fault]


def test_a_missing_key_is_noticed_unless_it_is_optional():
    without = {key: value for key, value in GOOD.items() if key != "name"}
    assert differences(tree(TABLE), without) == ["name: is documented and missing"]
    assert differences(tree(TABLE), {**GOOD, "recipe": {"any": ["thing"]}}) == []


@pytest.mark.parametrize(
    "line",
    ["| `a` | strings | x |", "| `a` | string, sometimes | x |", "| `a.b` | string | x |"],
)
def test_a_table_that_cannot_be_read_is_no_table(line):
    with pytest.raises(AssertionError):
        tree(line)
