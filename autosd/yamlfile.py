"""YAML in and out: plain values only, no anchors, no repeated keys, `1e-4` is a number."""

import re
from pathlib import Path
from typing import Any

import yaml

from autosd.errors import AutosdError

MAX_BYTES = 100_000
LONGEST_NUMBER = 100
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
PLAIN = (*NUMBERS, *(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "str", "seq", "map")))
"""What a recipe or study may hold; a date is a text, and there are no sets and no bytes."""


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""With libyaml where it is there: every trial's recipe is written while a slot waits."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader for plain values: no aliases (they can expand without bound), no
    repeated keys, no numbers without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag in NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(node.value)} characters", node.start_mark
            )
        node.value.encode()  # half of a surrogate pair could be written nowhere
        return super().construct_scalar(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            try:
                repeated = key in seen
                seen.add(key)
            except TypeError:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain name", key_node.start_mark
                ) from None
            if repeated:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag in PLAIN
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag in PLAIN]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*)(?:\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def loads(text: str, where: str) -> Any:
    """The value of a YAML text.

    Raises:
        AutosdError: not YAML, or more than plain values; names `where` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not readable as YAML"
        raise AutosdError(f"{where}{line}: {problem}") from None
    except RecursionError:
        raise AutosdError(f"{where}: nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise AutosdError(f"{where}: {error}") from None


def read(path: Path) -> Any:
    """The value of a YAML file; `AutosdError` names the file where it cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AutosdError(f"{path}: larger than {MAX_BYTES} bytes, which no recipe or study is")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AutosdError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AutosdError(f"{path}: cannot be read ({error})") from None
    return loads(text, str(path))


def dumps(value: Any) -> str:
    """YAML text of plain values, keys in the given order."""
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    return str(text)
