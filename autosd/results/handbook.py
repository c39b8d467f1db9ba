"""The page `docs/strategies.md`, made of what the code says of itself.

    python -m autosd.results.handbook docs/strategies.md

The prose and the formula of a strategy are the docstring of its module: a title, a source, what
it does, an indented formula, and what differs from the paper. Knobs, cost, slots and combinations
come from the declarations, searched ranges and the words on families from the space files. A test
compares the committed page with this one.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autosd import resources, yamlfile
from autosd.files import write_text
from autosd.strategies.check import clash, discouraged
from autosd.strategies.listing import REFERENCE_CLASSES, REFERENCE_IMAGE, REFERENCE_MODEL, listing
from autosd.strategies.strategy import Strategy, discover

HEAD = f"""\
# Strategies

Made from the code by `python -m autosd.results.handbook docs/strategies.md`; mend the docstring of
a strategy or its space file, not this page.

A recipe names one strategy or several (`strategies: [cutmix, {{masd: {{mask_ratio: 0.3}}}}]`); a
space names families to choose from. `autosd list strategies` shows the same in short.

**In the formulas**, `z` are the student's logits, `f` its embedding or maps, `y` the label, `q` a
target (rows summing to 1), `p` probabilities, `K` the number of classes, `T` the knob
`temperature`. `CE` is the mean cross-entropy. `KL_T(t || s)` is the divergence of `softmax(s / T)`
from `softmax(t / T)`, summed over classes, mean over rows, times `T^2`; `t` is a constant unless
said otherwise. Names of knobs stand for their values. Where another strategy owns the target (it
smooths or mixes it), every `CE` with `y` takes that target.

**Cost** is image-forwards and image-backwards per fresh image, branches and heads included, for the
published defaults on `{REFERENCE_MODEL}` with {REFERENCE_CLASSES} classes and images of \
{REFERENCE_IMAGE[1]} x {REFERENCE_IMAGE[2]}. A forward counts
as a third of a plain step and a backward as two thirds, so plain training is 1.00. `autosd compare`
measures it.

**Slots** say what a strategy claims. Compose (which rows make up a batch), mix, target, teacher (a
signal from outside this pass) and heads have one owner in a recipe; regularisers are free. Two
owners, or an effect that the other cannot live with, are refused when a recipe or a space is read.
"""
SETTINGS = ("erasing", "trivial", "ema", "swa")
GROUPS = ("lightskd", "compose_mixed", "compose_plain", "compose_replay")
MEGABYTE = 2**20


def page() -> str:
    """The whole page as Markdown."""
    entries = {entry["name"]: entry for entry in listing()}
    parts = [HEAD, _overview(entries)]
    parts += [_section(name, entries[name]) for name in entries]
    parts += ["## Settings of the recipe\n", "They claim no slot and go with every strategy.\n"]
    parts += [_family(name) for name in SETTINGS]
    parts += ["## Families of several strategies\n", *map(_family, GROUPS)]
    return "\n".join(parts)


def main(path: Path) -> None:
    """Write the page to a file."""
    write_text(path, page())


def _overview(entries: Mapping[str, Any]) -> str:
    rows = [
        (
            f"[{name}](#{name})",
            ", ".join(entry["slots"]) or "none",
            f"{entry['cost']['step']:.2f}",
            _summary(discover()[name]),
        )
        for name, entry in entries.items()
    ]
    return _table(("strategy", "slots", "step", "what it is"), rows)


def _section(name: str, entry: Mapping[str, Any]) -> str:
    strategy = discover()[name]
    title, *paragraphs = _paragraphs(strategy)
    title = title.replace("**", "")
    return "\n".join(
        [
            f"## {name}\n",
            f"**{title}**\n",
            *(_markdown(paragraph) for paragraph in paragraphs),
            *_knobs(name, entry["knobs"]),
            f"**Cost.** {_cost(strategy, entry['cost'])}\n",
            f"**Combines.** {_combines(name)}\n",
        ]
    )


def _paragraphs(strategy: type[Strategy]) -> list[str]:
    """The module's docstring, split at empty lines."""
    module = inspect.getmodule(strategy)
    text = inspect.cleandoc((module and module.__doc__) or strategy.__name__)
    return re.split(r"\n\n+", text)


def _summary(strategy: type[Strategy]) -> str:
    """The title without the name before its colon."""
    title = _paragraphs(strategy)[0].replace("**", "").removesuffix(".")
    return title.split(": ", 1)[-1]


def _markdown(paragraph: str) -> str:
    """A paragraph; an indented one is a formula."""
    if paragraph.startswith("    "):
        return f"```text\n{textwrap.dedent(paragraph)}\n```\n"
    return f"{paragraph}\n"


def _knobs(name: str, knobs: list[dict[str, Any]]) -> Iterator[str]:
    if not knobs:
        yield "It has no knobs.\n"
        return
    searched = _ranges(name)
    rows = [
        (
            f"`{name}.{knob['name']}`",
            _value(knob["default"]),
            searched.get(knob["name"], "not searched"),
            knob["valid"],
            knob["meaning"],
        )
        for knob in knobs
    ]
    yield _table(("knob", "default", "searched", "valid", "meaning"), rows)


def _ranges(name: str) -> dict[str, str]:
    """What the strategy's own space file searches, in words; nothing where it is not searched."""
    if not discover()[name].searched:
        return {}
    entry = yamlfile.read(resources.find("search_spaces", name))["strategies"][name] or {}
    return {knob: _range(given) for knob, given in entry.items()}


def _range(given: Mapping[str, Any]) -> str:
    kind = next(iter(given))
    values = [_value(value) for value in given[kind]]
    words = ", ".join(values) if kind == "choice" else " to ".join(values)
    words += ", log" if kind == "log_uniform" else ""
    for key, wanted in given.get("when", {}).items():
        words += f" (where {key} is {_value(wanted)})"
    return words


def _value(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cost(strategy: type[Strategy], cost: Mapping[str, float]) -> str:
    words = (
        f"{cost['forwards']:.2f} forwards and {cost['backwards']:.2f} backwards per image, a step "
        f"is {cost['step']:.2f} plain ones."
    )
    if strategy.memories:
        size = 4 * REFERENCE_CLASSES * 50_000 * strategy.memories / MEGABYTE
        words += (
            f" It keeps {strategy.memories} x K numbers of every training image: {size:.0f} MiB "
            "for 50,000 images of 100 classes; half precision from 1 GiB on, refused above 4 GiB."
        )
    return words


def _combines(name: str) -> str:
    strategy = discover()[name]
    others = [other for other in discover() if other not in (name, "cross_entropy")]
    slots = ", ".join(sorted(map(str, strategy.slots))) or "none"
    reasons: dict[str, list[str]] = {}
    for other in others:
        if reason := clash(name, other):
            reasons.setdefault(reason, []).append(other)
    refused = {other for names in reasons.values() for other in names}
    free = [other for other in others if other not in refused]
    lines = [f"Slots: {slots}. Goes with {_listed(free)}.\n"]
    lines += [f"- Not with {_listed(names)}: {reason}." for reason, names in reasons.items()]
    lines += [f"- Of little use: {line}." for o in free for line in discouraged((name, o))]
    return "\n".join(lines)


def _listed(names: list[str]) -> str:
    *first, last = names or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


def _family(name: str) -> str:
    """A family by its space file: the words at its top, and what it holds."""
    text = resources.find("search_spaces", name).read_text(encoding="utf-8")
    comment = text.split("\nstrategies:")[0]
    words = "\n".join(line.removeprefix("#").strip() for line in comment.splitlines())
    entry = yamlfile.read(resources.find("search_spaces", name))["strategies"][name]
    return "\n".join([f"### {name}\n", f"{words}\n", *_contents(name, entry)])


def _contents(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    rows = [(f"`{key}`", _setting(given)) for key, given in entry.get("recipe", {}).items()]
    rows += [("strategies", _listed(entry["members"]))] if "members" in entry else []
    rows += [
        (f"`{name}.{key}`", ", ".join(options)) for key, options in entry.get("choices", {}).items()
    ]
    rows += [
        (f"`{name}.{key}`", f"sets {_listed(places)}")
        for key, places in entry.get("shared", {}).items()
    ]
    yield _table(("place", "value"), rows)


def _setting(given: Any) -> str:
    if not isinstance(given, Mapping):
        return _value(given)
    return f"{_range(given)}; default {_value(given['default'])}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
