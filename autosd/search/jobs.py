"""What the driver and a worker say to each other: plain values that any process can read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NotRequired, Protocol, TypedDict

from autosd.search.faults import Kind


@dataclass(frozen=True)
class Job:
    """One training run to be done, complete in itself.

    Attributes:
        key: names the job among all jobs of a run, such as `trials/0007` or `finalists/masd-1000`.
        recipe: the resolved recipe as `Recipe.parse` takes it.
        folder: absolute path of the folder the worker writes `last.pt` and its results to.
        number: number of the trial in the study, None outside of a study.
        train_on: parts of the data that give gradients.
        evaluate_on: parts evaluated after each epoch.
        final: parts whose metrics are wanted once, at the end.
        keep_logits: parts whose logits are kept in `logits.npz`.
        export: whether the trained student is written to `folder/model`.
        details: what the export says about itself beside the network.
        token: what the file `lock` must still say before anything is written.
        lock: absolute path of the study's lock file, or the address of its copy; empty where
            nothing is fenced.
        place: address of the run's folder for workers of other machines; empty where the driver's
            machine has the workers.
        cache: folder of decoded images, None for the default.
        root: absolute path from which relative paths in knobs are taken; empty: the working folder.
        cpus: threads of the run.
        gpus: share of a GPU; 0 trains on the processor.
        alone: whether nothing else runs beside it, so that it may take what memory there is.
        epoch_seconds: longest that a step may take, None for any time.
    """

    key: str
    recipe: Mapping[str, Any]
    folder: str
    number: int | None = None
    train_on: tuple[str, ...] = ("train",)
    evaluate_on: tuple[str, ...] = ("val",)
    final: tuple[str, ...] = ()
    keep_logits: tuple[str, ...] = ()
    export: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    lock: str = ""
    place: str = ""
    cache: str | None = None
    root: str = ""
    cpus: int = 1
    gpus: float = 0.0
    alone: bool = False
    epoch_seconds: float | None = None

    @property
    def gpu_share(self) -> float:
        """GPUs, or the share of one, that the job takes: whole ones where it is alone."""
        return math.ceil(self.gpus) if self.alone else self.gpus

    @property
    def parts(self) -> frozenset[str]:
        """Every part of the data that the job reads."""
        return frozenset((*self.train_on, *self.evaluate_on, *self.final, *self.keep_logits))

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names of the recipe's strategies."""
        entries: Sequence[str | Mapping[str, Any]] = self.recipe["strategies"]
        return tuple(entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)


class Failure(TypedDict):
    """Why a training run ended without a result; `faults` says what follows from its kind."""

    kind: Kind
    why: str
    traceback: str


class GpuMemory(TypedDict):
    """Bytes of a GPU: the most that torch has reserved for a job so far, and what there is."""

    bytes: int
    total_bytes: int


class Result(TypedDict):
    """What a worker says after each epoch.

    Attributes:
        epoch: epochs finished so far.
        history: records of epochs that the driver may lack, oldest first; after a start the
            whole curve, later the last epoch only.
        done: no further step will follow.
        result: what the finished run gave (metrics of the parts in `Job.final`), else None.
        failure: why the run ended early, else None.
        seconds: wall time inside this step.
        worker: `{"pid", "host", "device"}`, on a cluster also Ray's name of the `node`.
        gpu: memory of the job, where it runs on one.
        notes: warnings of a worker in another process, where the driver does not hear them.
        files: what a finished run leaves on another machine, by name below the run's folder.
    """

    epoch: int
    history: list[dict[str, Any]]
    done: bool
    result: dict[str, Any] | None
    failure: Failure | None
    seconds: float
    worker: dict[str, Any]
    gpu: NotRequired[GpuMemory]
    notes: NotRequired[list[str]]
    files: NotRequired[dict[str, bytes]]


class Steps(Protocol):
    """What an engine drives: begin a job, then one step per epoch until `done`."""

    def begin(self, job: Job) -> None:
        """Leave the job before, whatever its state, and take up this one."""

    def step(self) -> Result:
        """Train one epoch."""


class _Answer:
    """What a bridge says instead of a job."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


WAIT: Final = _Answer("WAIT")
DONE: Final = _Answer("DONE")
Answer = Job | _Answer


def failure(kind: Kind, why: str, tail: str = "") -> Failure:
    """A failure with its reason cut to one line of at most 300 characters."""
    line = " ".join(why.split())
    return {"kind": kind, "why": line[:300], "traceback": tail}


class Bridge(Protocol):
    """Between an engine and a record. Only the driver's process calls it, never two at once."""

    def ask(self) -> Answer:
        """A job for a free slot, WAIT while running jobs may bring more, DONE when all is over."""

    def report(self, job: Job, result: Result) -> bool:
        """An epoch that was not the last; whether to go on."""

    def complete(self, job: Job, result: Result | None, error: Failure | None) -> None:
        """The end of a job: its last result, or how its worker was lost.

        The last result has `done`, or is the one after which `report` said no.
        """

    def close(self) -> None:
        """Hand back what is still running; called once on every way out."""


class Source(Bridge, Protocol):
    """A bridge whose jobs may have to wait for a place of their size."""

    def put_back(self, job: Job) -> None:
        """A job that was asked for has no place yet: it is asked for again."""
