"""Holds what a command gives with `--json` against its table in `docs/json.md`.

The notation stands at the top of that page. A key in the tree below is a literal name, `<word>` for
any name, or `[]` for the items of a list.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs/json.md"
TYPES = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "list": list,
    "any": object,
}


@dataclass
class Key:
    """A documented key: its types, whether it may be absent, and what is documented below it."""

    types: tuple[str, ...] = ("object",)
    optional: bool = False
    below: dict[str, "Key"] = field(default_factory=dict)


@cache
def sections() -> dict[str, Key]:
    """The tree of keys of each section, by what follows `autosd` in its heading."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## autosd ")[1:]:
        heading, _, body = part.partition("\n")
        assert heading.strip() not in found, f"docs/json.md: autosd {heading} stands twice"
        found[heading.strip()] = tree(body)
    return found


def assert_documented(command: str, payload: Any) -> None:
    """Every key of `payload` is documented with a type that fits, and none that must be is missing.

    Args:
        command: what follows `autosd` in a heading, such as `status` or `list strategies`.
        payload: the JSON that the command gave.
    """
    assert command in sections(), f"docs/json.md has no section `## autosd {command}`"
    faults = differences(sections()[command], payload)
    assert not faults, f"autosd {command} --json and docs/json.md differ:\n" + "\n".join(faults)


def differences(documented: Key, payload: Any) -> list[str]:
    """What a payload has otherwise than documented, one line for each key."""
    return list(_faults(documented, payload, ""))


def tree(body: str) -> Key:
    """The keys of the tables of a section."""
    root = Key()
    for line in body.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if len(cells) != 5 or not cells[1].startswith("`"):
            continue
        words, _, optional = cells[2].partition(",")
        types = tuple(word.strip() for word in words.split(" or "))
        assert set(types) <= set(TYPES), f"docs/json.md: {cells[1]}: unknown type in {cells[2]!r}"
        assert optional.strip() in ("", "optional"), f"docs/json.md: {cells[1]}: {cells[2]!r}"
        assert cells[3], f"docs/json.md: {cells[1]}: has no meaning"
        _place(root, cells[1].strip("`"), Key(types, bool(optional)))
    return root


def _place(root: Key, dotted: str, key: Key) -> None:
    *path, last = dotted.replace("[]", ".[]").split(".")
    for name in path:
        if name == "[]":
            root.below.setdefault("[]", Key())
        assert name in root.below, f"docs/json.md: {dotted}: {name} has no line before it"
        root = root.below[name]
    assert last not in root.below, f"docs/json.md: {dotted}: stands twice"
    root.below[last] = key


def _faults(key: Key, value: Any, place: str) -> Any:
    if not any(_fits(value, kind) for kind in key.types):
        yield f"{place}: is {value!r:.60}, documented as {' or '.join(key.types)}"
    elif isinstance(value, list) and "[]" in key.below:
        for item in value:
            yield from _faults(key.below["[]"], item, f"{place}[]")
    elif isinstance(value, dict) and key.below:
        yield from _faults_below(key, value, f"{place}." if place else "")


def _faults_below(key: Key, value: dict[str, Any], prefix: str) -> Any:
    anyone = next((one for name, one in key.below.items() if name.startswith("<")), None)
    for name, inner in value.items():
        known = key.below.get(name, anyone)
        if known is None:
            yield f"{prefix}{name}: is not documented"
        else:
            yield from _faults(known, inner, f"{prefix}{name}")
    for name, known in key.below.items():
        if name not in value and not known.optional and not name.startswith("<"):
            yield f"{prefix}{name}: is documented and missing"


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind in ("number", "integer"):
        return False
    return isinstance(value, TYPES[kind])
