"""Reading a space file. All faults of it are reported together, each with file and key.

```yaml
recipe:                                      # knobs of training, or values that the space fixes
  optimizer.lr: {log_uniform: [0.02, 0.5], default: 0.1}
strategies:                                  # the families
  cross_entropy:
  masd:                                      # ranges of masd.yaml, beside this file or shipped
  rskd: {residual_layers: 2}                 # the same, one knob fixed
  toast: {temperature: {uniform: [2, 5]}}    # the same, one range narrowed
  lightskd: {members: [drg, dsr], shared: {temperature: [drg.temperature, dsr.temperature]}}
  ema: {recipe: {average.kind: ema}}         # settings of the recipe
  compose_mixed: {choices: {input: [mixup, cutmix], target: [none, label_smoothing]}}
```

Kinds are `uniform`, `log_uniform`, `integers` and `choice`. `default:` is the strategy's own unless
given; `when: {teacher: ema}` makes a knob exist only then; a bound may be `stages`,
`stages - 1` or, in quotation marks for its comma, `"min(3, stages - 1)"`.
A composed family has the ranges of its members, from their files and as this file narrows them;
`knobs: {drg.alpha: 0.2}` changes them by their whole name, or by the shared one. Its choices are
the parameters `compose_mixed.input` and `compose_mixed.target`, the first of each is the default;
a member's knobs exist only in trials that drew it. A pair that excludes each other is refused,
whichever choices it would need. `cross_entropy` takes part in every space, named or not.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autosd import resources
from autosd.errors import AutosdError
from autosd.recipe import Recipe, unknown
from autosd.search.knobs import Family, Knob, is_range
from autosd.search.outline import Outline, OutlineReader, Raw
from autosd.search.ranges import RangeReader
from autosd.search.vocabulary import Vocabulary

MOST_COMBINATIONS = 100_000
Combine = Callable[[Sequence[str]], None]
Parts = tuple[tuple[Family, ...], tuple[Knob, ...], Mapping[str, Any]]


def read_parts(
    path: Path | str,
    words: Vocabulary,
    combine: Combine,
    overrides: Mapping[str, Any],
    stages: int,
) -> Parts:
    """Families, knobs of training and fixed places of a space; see `Space.read`."""
    file = resources.find("search_spaces", str(path))
    faults = list[str]()
    reader = OutlineReader(file, words, faults)
    ranges = RangeReader(words, stages, overrides, faults)
    raws, entries = reader.blocks()
    found = [reader.family(*entry) for entry in _with_baseline(entries, words).items()]
    outlines = [outline for outline in found if outline is not None]
    raws |= _drawn_settings(overrides, raws, outlines, words, faults)
    fixed, training = ranges.knobs(raws)
    families = []
    for outline in outlines:
        _take_overrides(outline, overrides, words)
        families.append(_family(outline, ranges, training))
        faults += _forbidden(outline, combine, words)
    faults += _clashes(file.name, families, training)
    faults += _unused(overrides, ranges.used, families, words)
    if faults:
        raise AutosdError("\n".join(dict.fromkeys(faults)))
    return tuple(families), training, fixed


def _with_baseline(entries: Mapping[str, Any], words: Vocabulary) -> Mapping[str, Any]:
    """Plain training takes part in every space: without it a result says nothing."""
    if "cross_entropy" in entries or "cross_entropy" not in words.declarations:
        return entries
    return {"cross_entropy": None, **entries}


def _family(outline: Outline, ranges: RangeReader, training: Sequence[Knob]) -> Family:
    slots = tuple(
        Knob(name, "choice", choices=tuple(options), default=options[0])
        for name, options in outline.choices.items()
        if options
    )
    fixed, knobs = ranges.knobs(outline.raws, (*training, *slots))
    return Family(outline.name, tuple(outline.members), slots, fixed, knobs)


def _drawn_settings(
    overrides: Mapping[str, Any],
    raws: Mapping[str, Raw],
    outlines: Sequence[Outline],
    words: Vocabulary,
    faults: list[str],
) -> dict[str, Raw]:
    """Settings of the recipe that an option draws and no file does.

    The range of a family is narrowed for that family alone. What makes a family is no range.
    """
    drawn = {}
    for key, value in overrides.items():
        if not is_range(value) or key not in words.settings or key in raws:
            continue
        own = [(outline, outline.setter(key)) for outline in outlines]
        setters = {outline.name: outline.raws[name] for outline, name in own if name}
        makers = [name for name, raw in setters.items() if not is_range(raw.value)]
        if makers:
            faults.append(
                f"--set: {key}: cannot be drawn; it is what {', '.join(makers)} is made of"
            )
        elif not setters:
            drawn[key] = Raw(value, "--set", key, (key,))
    return drawn


def _take_overrides(outline: Outline, overrides: Mapping[str, Any], words: Vocabulary) -> None:
    """Let an option set a knob of the family's strategies that no file has a range for."""
    for key, value in overrides.items():
        strategy = key.split(".")[0]
        known = strategy in outline.strategies and words.knob_fault(key) is None
        if known and outline.setter(key) is None:
            outline.raws[key] = Raw(value, "--set", key, (key,), outline.only(strategy))


def _forbidden(outline: Outline, combine: Combine, words: Vocabulary) -> list[str]:
    """The first combination of strategies of a family that exclude each other."""
    if any(words.strategy_fault(name) for name in outline.strategies):
        return []
    slots = [[name] for name in outline.members] + list(outline.choices.values())
    for count, drawn in enumerate(itertools.product(*slots)):
        names = [name for name in drawn if name != "none"]
        try:
            if count >= MOST_COMBINATIONS:
                raise AutosdError(f"more than {MOST_COMBINATIONS} combinations of strategies")
            if len(set(names)) < len(names):
                raise AutosdError(f"{', '.join(names)}: one strategy stands there twice")
            combine(names or ["cross_entropy"])
        except AutosdError as error:
            return [f"{outline.where}: {outline.key}: {error}"]
    return []


def _clashes(where: str, families: Sequence[Family], training: Sequence[Knob]) -> list[str]:
    """Parameters with two ranges: one name has one distribution in a study."""
    faults = []
    first = {knob.name: (knob, "recipe") for knob in training}
    for family in families:
        for knob in family.parameters:
            other, owner = first.setdefault(knob.name, (knob, family.name))
            if other.range != knob.range:
                faults.append(
                    f"{where}: strategies.{family.name}: {knob.name} has the range {knob.range} "
                    f"here and {other.range} in {owner}; a name has one range in a study"
                )
    return faults


def _unused(
    overrides: Mapping[str, Any], used: set[str], families: Sequence[Family], words: Vocabulary
) -> list[str]:
    """Options that name nothing of this space; settings of the recipe are the recipe's matter."""
    faults = []
    for key in overrides:
        if key in used or key.split(".")[0] in Recipe.model_fields:
            continue
        names = {knob.name for family in families for knob in family.parameters}
        fault = words.knob_fault(key) or unknown("parameter of this space", key, names)
        faults.append(f"--set: {key}: {fault}")
    return faults
