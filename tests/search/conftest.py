"""Strategies declared for tests of the search, spaces over them, and a study to try a bridge on."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from pydantic import BaseModel, ConfigDict, Field

from autosd.errors import AutosdError
from autosd.recipe import Recipe, StudyDefinition
from autosd.search.space import Space

sys.path.insert(0, str(Path(__file__).parent))
import drive

from .counter import Desk, open_desk


class Knobs(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CrossEntropy:
    class Knobs(Knobs):
        pass


class Masd:
    class Knobs(Knobs):
        mask_ratio: float = Field(0.15, ge=0, le=1)
        num_taps: int = Field(2, ge=0)
        kd_weight: float = Field(1.5, ge=0)


class Rskd:
    class Knobs(Knobs):
        residual_layers: int = Field(1, ge=0)
        teacher: Literal["snapshot", "ema"] = "snapshot"
        ema_momentum: float = Field(0.999, ge=0, lt=1)


class Drg:
    class Knobs(Knobs):
        alpha: float = Field(0.2, ge=0)
        temperature: float = Field(4.0, gt=0)


class Dsr:
    class Knobs(Knobs):
        weight: float = Field(1.0, ge=0)
        temperature: float = Field(4.0, gt=0)


class Mixup:
    class Knobs(Knobs):
        alpha: float = Field(0.2, gt=0)


DECLARED = {
    "cross_entropy": CrossEntropy,
    "masd": Masd,
    "rskd": Rskd,
    "drg": Drg,
    "dsr": Dsr,
    "mixup": Mixup,
}
FILES = {
    "masd": """
        strategies:
          masd:
            mask_ratio: {uniform: [0, 0.75]}
            num_taps: {integers: [1, stages - 1]}
            kd_weight: {log_uniform: [0.1, 5]}
    """,
    "rskd": """
        strategies:
          rskd:
            residual_layers: {integers: [1, stages]}
            teacher: {choice: [snapshot, ema]}
            ema_momentum: {choice: [0.99, 0.999], when: {teacher: ema}}
    """,
    "drg": "strategies: {drg: {alpha: {uniform: [0, 2]}, temperature: {log_uniform: [1, 8]}}}",
    "dsr": "strategies: {dsr: {weight: {uniform: [0, 5]}, temperature: {uniform: [1, 9]}}}",
    "mixup": "strategies: {mixup: {alpha: {uniform: [0.1, 1]}}}",
    "lightskd": """
        strategies:
          lightskd:
            members: [drg, dsr]
            shared: {temperature: [drg.temperature, dsr.temperature]}
    """,
    "joint": """
        recipe:
          optimizer.lr: {log_uniform: [0.03, 0.3], default: 0.1}
        strategies: {cross_entropy: , masd: , rskd: , lightskd: , mixup: }
    """,
}


def combine(names: Sequence[str]) -> None:
    """Mixed pixels are refused by DSR."""
    if {"mixup", "dsr"} <= set(names):
        raise AutosdError("mixup and dsr: the neighbours would be mixed")


ReadSpace = Callable[..., Space]


@pytest.fixture
def spaces(tmp_path: Path) -> Path:
    """A folder with a space file of each strategy, and `joint.yaml` over all."""
    folder = tmp_path / "spaces"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture
def read(spaces: Path) -> ReadSpace:
    """Read a space from YAML text, or one of the files by name."""

    def read_space(text: str, stages: int = 4, **options: Any) -> Space:
        path = spaces / f"{text}.yaml"
        if "\n" in text or ":" in text:
            path = spaces / "mine.yaml"
            path.write_text(text)
        overrides = options.pop("overrides", None)
        return Space.read(path, DECLARED, combine, overrides, stages=stages, **options)

    return read_space


@pytest.fixture
def joint(read: ReadSpace) -> Space:
    """The space over every declared strategy."""
    return read("joint")


@pytest.fixture
def base() -> Recipe:
    """A base recipe of ten epochs."""
    return Recipe.parse({"data": "digits", "epochs": 10})


@pytest.fixture
def definition() -> StudyDefinition:
    """A small study."""
    recipe = {"data": "digits", "model": "resnet8", "epochs": 10}
    return StudyDefinition.parse({"name": "small", "recipe": recipe, "trials": 12})


@pytest.fixture
def study() -> optuna.Study:
    """An empty study in memory, larger values better."""
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An empty study of three families with its lock held."""
    with open_desk(tmp_path, drive.SPACE) as desk:
        yield desk
