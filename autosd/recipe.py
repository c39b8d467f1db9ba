"""Recipe and study definition: everything that decides a training run or a search, as YAML.

Only the form is checked here. Names of data sets, models, strategies and knobs are checked by
the packages that own them.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from autosd import yamlfile
from autosd.errors import AutosdError

STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]
Model = TypeVar("Model", bound=BaseModel)


class Form(BaseModel):
    """A block of YAML: unknown keys are refused, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    def plain(self) -> dict[str, Any]:
        """Values that JSON and YAML can carry; an infinite one is the text `Infinity`."""
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values


class Document(Form):
    """A block that is a file of its own."""

    @classmethod
    def parse(cls, values: Any, where: str | None = None) -> Self:
        """Read a mapping; all faults together in one `AutosdError` that starts with `where`."""
        return parse(cls, values, where or cls.__name__.lower())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; faults name it."""
        return cls.parse(yamlfile.read(path), str(path))


def _named(value: Any) -> Any:
    """A bare name stands for a block with that name."""
    return {"name": value} if isinstance(value, str) else value


class SplitSpec(Form):
    """How images are divided; `None` means the defaults of design 4 (counts, or shares)."""

    seed: int = 0
    val: Share | None = None
    select: Share | None = None
    test: Share | None = None


class DataSpec(Form):
    """A data set: a known name, `npz:PATH` or `folder:PATH`."""

    name: str
    image_size: int | None = Field(None, ge=4, le=1024)
    root: str | None = None
    split: SplitSpec = SplitSpec()


class ModelSpec(Form):
    """A student: a known name, `timm/NAME` or a timm name, or `path/to/file.py:Class`."""

    name: str
    pretrained: bool = False


class OptimizerSpec(Form):
    """SGD or AdamW; `decay_norms: false` spares norms and biases from weight decay."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0, le=10)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(5e-4, ge=0, le=1)
    decay_norms: bool = True
    clip: float | None = Field(None, gt=0)


class ScheduleSpec(Form):
    """The learning rate over steps; `milestones` are shares of the planned epochs."""

    name: Literal["cosine", "multistep", "onecycle", "constant"] = "cosine"
    warmup_epochs: float = Field(0.0, ge=0)
    milestones: tuple[Fraction, ...] = (0.525, 0.775)
    gamma: float = Field(0.1, gt=0, le=1)


class AugmentSpec(Form):
    """Batched augmentation; `None` takes the data set's default. `trivial` is TrivialAugment."""

    crop: int | None = Field(None, ge=0, le=64)
    flip: bool | None = None
    policy: Literal["none", "trivial"] = "none"
    erase: Fraction = 0.0


class AverageSpec(Form):
    """Which weights are evaluated and kept: the last, their EMA, or SWA over the last quarter."""

    kind: Literal["none", "ema", "swa"] = "none"
    momentum: float = Field(0.999, ge=0, lt=1)


class StrategySpec(Form):
    """One strategy of a recipe with the knobs that differ from its defaults."""

    name: str
    knobs: dict[str, Any] = Field(default_factory=dict)


class Recipe(Document):
    """Everything that decides a training run."""

    data: DataSpec
    model: ModelSpec = ModelSpec(name="resnet8")
    epochs: int = Field(20, ge=1, le=100_000)
    budget: Literal["epochs", "compute"] = Field(
        "epochs",
        description="what `epochs` counts: epochs, or the image passes of as many plain ones",
    )
    batch_size: int = Field(128, ge=1, le=65_536)
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    augment: AugmentSpec = AugmentSpec()
    average: AverageSpec = AverageSpec()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    class_weights: Literal["none", "balanced"] = "none"
    init: str | None = None
    strategies: tuple[StrategySpec, ...] = (StrategySpec(name="cross_entropy"),)
    seed: int = Field(0, ge=0, lt=2**31)

    _names = field_validator("data", "model", "optimizer", "schedule", mode="before")(_named)

    @field_validator("strategies", mode="before")
    @classmethod
    def _strategies(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("a list of strategies, such as `- masd: {mask_ratio: 0.15}`")
        return [_strategy(entry) for entry in value]

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.strategies:
            raise ValueError("strategies: at least one; `cross_entropy` is plain training")
        names = [strategy.name for strategy in self.strategies]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"strategies: {name} stands twice")
        return self

    def mapping(self) -> dict[str, Any]:
        """Plain values, complete, as `parse` takes them back."""
        values = self.plain()
        values["strategies"] = [
            {entry["name"]: entry["knobs"]} if entry["knobs"] else entry["name"]
            for entry in values["strategies"]
        ]
        return values

    def with_seed(self, seed: int) -> Self:
        """The same recipe under another seed."""
        return self.model_copy(update={"seed": seed})

    def fingerprint(self) -> str:
        """A short hash of everything in the recipe."""
        return fingerprint(self.mapping())


def _strategy(entry: Any) -> Any:
    if isinstance(entry, str):
        return {"name": entry}
    if isinstance(entry, StrategySpec):
        return entry
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, knobs = next(iter(entry.items()))
        return {"name": name, "knobs": {} if knobs is None else knobs}
    raise ValueError(f"a name or {{name: {{knob: value}}}}, not {entry!r}")


class FinalistSpec(Form):
    """How many trials are confirmed, each with how many fresh seeds."""

    count: int = Field(4, ge=0, le=50)
    seeds: int = Field(3, ge=1, le=50)


class SlotSpec(Form):
    """What one running trial takes."""

    cpus: int = Field(1, ge=1)
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = 0.0

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus(cls, value: Any) -> Any:
        try:
            number = 0.0 if value == "auto" else float(value)
        except (TypeError, ValueError):
            raise ValueError(f"a number such as 0.5, or auto, not {value!r}") from None
        if number > 1 and number % 1:
            raise ValueError(f"more than one GPU has to be a whole number of them, not {value!r}")
        return "auto" if value == "auto" else number

    @property
    def share(self) -> float:
        """GPUs of a job, or its share of one; with `auto` the most that it is given."""
        return 1.0 if self.gpus == "auto" else self.gpus


class StudyDefinition(Document):
    """A search over a space around a base recipe."""

    name: str
    recipe: Recipe
    space: str = "joint"
    trials: int = Field(50, ge=1, le=1_000_000)
    sampler: str = "tpe"
    pruner: str = "family"
    finalists: FinalistSpec = FinalistSpec()
    objective: Literal["top1", "nll", "balanced_accuracy"] = "top1"
    per_trial: SlotSpec = SlotSpec()
    slots: int | None = Field(None, ge=1)
    time_budget: float | None = Field(None, gt=0, description="seconds")
    patience: int | None = Field(None, ge=1, description="trials without a better best value")
    epoch_seconds: float | None = Field(None, gt=0, description="an epoch that takes longer hangs")
    seed: int = Field(0, ge=0, lt=2**31)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not STUDY_NAME.fullmatch(value):
            raise ValueError(
                "lower-case letters, digits, dots, dashes and underscores, at most 64, "
                "starting with a letter or digit"
            )
        return value

    def mapping(self) -> dict[str, Any]:
        """Plain values, complete, as `parse` takes them back."""
        return {**self.plain(), "recipe": self.recipe.mapping()}


def fingerprint(value: Any) -> str:
    """Sixteen hex digits of a plain value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def set_values(values: dict[str, Any], assignments: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested `values` with dotted keys replaced: `{"optimizer.lr": 0.05}`.

    A strategy's knob is named after it: `masd.mask_ratio` changes the entry `masd` of
    `strategies`. A bare name (`model: resnet8`) becomes a block where a key below it is set.
    """
    result: dict[str, Any] = json.loads(json.dumps(values))
    for dotted, value in assignments.items():
        keys = dotted.split(".")
        if _set_knob(result, keys, value):
            continue
        block = result
        for key in keys[:-1]:
            there = block.get(key)
            inner = {"name": there} if isinstance(there, str) else _keys_of(there, dotted)
            block[key] = inner
            block = inner
        block[keys[-1]] = value
    return result


def _set_knob(recipe: dict[str, Any], keys: list[str], value: Any) -> bool:
    if len(keys) != 2 or keys[0] in Recipe.model_fields:
        return False
    entries: Any = recipe.get("strategies")
    for position, entry in enumerate(entries if isinstance(entries, list) else ()):
        if entry == keys[0] or (isinstance(entry, dict) and list(entry) == [keys[0]]):
            knobs = {} if isinstance(entry, str) else _keys_of(entry[keys[0]], keys[0])
            entries[position] = {keys[0]: {**knobs, keys[1]: value}}
            return True
    return False


def _keys_of(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise AutosdError(f"{where}: {value!r:.60} has no keys that could be set")
    return dict(value or {})


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'masd'?`, or nothing where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One line for a name that does not exist, with those that do."""
    names = sorted(known)
    return f"no {what} named '{name}'; there are: {', '.join(names)}.{nearest(name, names)}"


def parse(form: type[Model], values: Any, where: str) -> Model:
    """Validate `values`; every fault on its own line, with key, value and the nearest name.

    Raises:
        AutosdError: at least one fault.
    """
    if not isinstance(values, Mapping):
        raise AutosdError(f"{where}: a mapping of keys to values is needed, not {values!r:.60}")
    try:
        return form.model_validate(dict(values))
    except ValidationError as error:
        lines = _fault_lines(form, values, error, where)
        raise AutosdError("\n".join(dict.fromkeys(lines))) from None


def _fault_lines(
    form: type[BaseModel], values: Any, error: ValidationError, where: str
) -> Iterable[str]:
    for fault in error.errors(include_url=False, include_context=False):
        place = _place(values, fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            known = _fields_at(form, fault["loc"][:-1])
            message = f"unknown key; allowed: {', '.join(known)}." + nearest(
                str(fault["loc"][-1]), known
            )
        elif fault["type"] == "missing":
            message = "is missing"
        elif fault["type"] != "value_error" or not isinstance(fault["input"], Mapping | list):
            message = f"{message}, not {fault['input']!r:.80}"
        yield f"{where}: {place + ': ' if place else ''}{message}"


def _place(values: Any, loc: tuple[int | str, ...]) -> str:
    """The dotted key of a fault, without the branches of unions that pydantic adds."""
    place = ""
    for part in loc:
        if isinstance(part, int):
            place += f"[{part}]"
        elif not part.startswith(("constrained-", "function-", "float", "int")):
            place += f".{part}" if place else part
    return place


def _fields_at(form: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for part in loc:
        if isinstance(part, int) or part not in form.model_fields:
            continue
        kind = form.model_fields[part].annotation
        for candidate in (kind, *getattr(kind, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                form = candidate
                break
    return list(form.model_fields)
