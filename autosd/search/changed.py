"""What two definitions of a study differ in, where they must not."""

from collections.abc import Mapping
from typing import Any

from autosd.recipe import StudyDefinition
from autosd.search.space import Space

MAY_CHANGE = ("trials", "slots", "time_budget", "patience", "epoch_seconds")
"""Keys of a study that may be others when it is resumed."""
Defined = tuple[StudyDefinition, Space]
_ABSENT = object()


def differences(there: Defined, asked: Defined) -> list[str]:
    """What would change in a study that must not change, one per line."""
    old, new = _flat(*there), _flat(*asked)
    return [
        f"{key}: {_said(old, key)} there, {_said(new, key)} asked for"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, _ABSENT) != new.get(key, _ABSENT)
    ]


def _said(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "nothing"


def _flat(definition: StudyDefinition, space: Space) -> dict[str, Any]:
    fixed = {
        key: value
        for key, value in definition.mapping().items()
        if key not in (*MAY_CHANGE, "space")
    }
    return flat({**fixed, "space": space.mapping()})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
