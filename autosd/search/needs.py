"""How much of a GPU a recipe needs: measured in its first epoch, kept with the study.

The key of a measurement is what decides sizes: the recipe without its seed, its length and every
fraction in it, since a fraction weighs and does not size. A recipe that was measured gets its peak
with a margin. Of one that was not, others of the same network, images and batch size are looked
at: its own strategies with other knobs, else the largest, with more on top. Where there are none
it gets a whole GPU. A guess that is too small costs a few steps: the process can take no more than
its share, fails as out of memory and is tried again with nothing beside it.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt, TypeAdapter

from autosd.files import write_json
from autosd.recipe import fingerprint
from autosd.search.capacity import part_of_gpu
from autosd.search.jobs import GpuMemory, Job

logger = logging.getLogger(__name__)

FILE = "gpu_memory.json"
CONTEXT_BYTES = 600 * 2**20
"""What a process takes beside torch's own memory: the context of CUDA and loaded kernels."""
KNOWN, ALIKE, STRANGE = 1.2, 1.5, 2.0
"""Times the peak: of the recipe itself, of its strategies with other knobs, of any others."""
BESIDE = ("strategies", "seed", "epochs", "schedule", "budget", "init")


@dataclass(frozen=True)
class Measured:
    """The most memory that runs of one key have reserved.

    Attributes:
        base: what decides sizes beside the strategies, as a fingerprint.
        strategies: of the recipe, joined by plus signs.
        peak_bytes: reserved by torch, without the process's context.
    """

    base: str
    strategies: str
    peak_bytes: NonNegativeInt


_RECIPES, _TOTAL = TypeAdapter(dict[str, Measured]), TypeAdapter(PositiveInt)


def in_words(study: Path, gpus: float | Literal["auto"]) -> str:
    """Which share of a GPU the runs of a study get and why, in one line; empty without GPUs."""
    if gpus != "auto":
        return f"{gpus:g} for each run, as asked for" if gpus else ""
    measured = Needs(study / FILE).describe()
    return measured or "auto: nothing is measured yet, so the first run gets a whole one"


def needs_of(job: Job) -> "Needs":
    """The measurements of the study that a job is of, beside its lock."""
    return Needs(Path(job.lock).with_name(FILE) if job.lock else None)


class Needs:
    """The measurements of a study."""

    def __init__(self, path: Path | None = None) -> None:
        """Those that an earlier run left in a file.

        Args:
            path: of the file; None keeps nothing.
        """
        self.path = path
        self.total = 0
        self.known: dict[str, Measured] = {}
        self._fresh = False
        self._refused: set[str] = set()
        if path is not None and path.exists():
            self._read(path)

    def share(self, job: Job) -> float:
        """The share of a GPU that a job is given."""
        peak = math.inf if job.alone else self._peak(job)
        return 1.0 if math.isinf(peak) else self._part(peak)

    def learn(self, job: Job, memory: GpuMemory) -> None:
        """Take note of what a job has reserved so far; of several GPUs the smallest counts.

        A GPU of an earlier run says nothing about those of this one.
        """
        total, key = memory["total_bytes"], _key(job)
        known = self.known.get(key)
        if self._fresh and self.total <= total and known and known.peak_bytes >= memory["bytes"]:
            return
        self.total = min(self.total, total) if self._fresh else total
        self._fresh = True
        peak = max(memory["bytes"], known.peak_bytes if known else 0)
        if known is None or peak > known.peak_bytes:
            self._refused.discard(key)
        self.known[key] = Measured(_base(job), "+".join(job.strategies), peak)
        self._write()

    def refuse(self, job: Job) -> None:
        """Its share was too small: such a job gets a whole GPU until more is measured of one."""
        self._refused.add(_key(job))

    def describe(self) -> str:
        """What was measured and which shares follow, in one line; empty where nothing was."""
        if not self.known:
            return ""
        peaks = [one.peak_bytes for one in self.known.values()]
        shares = [self._part(KNOWN * peak) for peak in peaks]
        recipes = "1 recipe" if len(peaks) == 1 else f"{len(peaks)} recipes"
        return (
            f"{recipes} measured: {_span([f'{peak / 2**30:.2g}' for peak in _ends(peaks)])} of "
            f"{self.total / 2**30:.3g} GiB, so "
            f"{_span([fraction(share) for share in _ends(shares)])} of a GPU each"
        )

    def _peak(self, job: Job) -> float:
        """What to expect of a job, with what is put on top; infinite where nothing is known."""
        own = self.known.get(_key(job))
        if _key(job) in self._refused:
            return math.inf
        if own is not None:
            return KNOWN * own.peak_bytes
        near = [one for one in self.known.values() if one.base == _base(job)]
        alike = [one.peak_bytes for one in near if one.strategies == "+".join(job.strategies)]
        if alike:
            return ALIKE * max(alike)
        return STRANGE * max((one.peak_bytes for one in near), default=math.inf)

    def _part(self, peak: float) -> float:
        return part_of_gpu((peak + CONTEXT_BYTES) / self.total)

    def _read(self, path: Path) -> None:
        """What cannot be read is measured anew: nothing else rests on it."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            known = _RECIPES.validate_python(values["recipes"])
            self.total, self.known = _TOTAL.validate_python(values["total_bytes"]), known
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("%s: cannot be read (%s); memory is measured anew", path, error)

    def _write(self) -> None:
        if self.path is not None:
            recipes = {key: vars(one) for key, one in self.known.items()}
            write_json(self.path, {"total_bytes": self.total, "recipes": recipes})


def fraction(share: float) -> str:
    """`1/3`, or `all`."""
    return "all" if share >= 1 else f"1/{round(1 / share)}"


def _key(job: Job) -> str:
    return fingerprint([_base(job), _whole(job.recipe["strategies"])])


def _base(job: Job) -> str:
    beside = {key: value for key, value in job.recipe.items() if key not in BESIDE}
    return fingerprint([_whole(beside), list(job.train_on)])


def _whole(value: Any) -> Any:
    """A plain value without the fractions in it."""
    if isinstance(value, Mapping):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(one) for one in value]
    return None if isinstance(value, float) else value


def _ends(values: list[Any]) -> list[Any]:
    return [min(values), max(values)]


def _span(texts: list[str]) -> str:
    return " to ".join(dict.fromkeys(texts))
