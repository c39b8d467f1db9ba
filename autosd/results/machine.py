"""What this machine offers a study, as findings with what to do about what is missing."""

import importlib.util
import os
import platform
import shutil
import sqlite3
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from autosd.errors import AutosdError
from autosd.search.capacity import processors
from autosd.search.cluster import Cluster

LIBRARIES = ("torch", "torchvision", "timm", "ray", "optuna", "optuna-dashboard", "scikit-learn")
SLOT_MEMORY = 1.5e9
FREE_DISK = 2e9


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: what was looked at.
        found: what there is.
        ok: whether a study can do without doing anything about it.
        advice: what to do, empty where nothing is missing.
    """

    name: str
    found: str
    ok: bool = True
    advice: str = ""


def examine(directory: Path) -> list[Finding]:
    """Everything that `autosd doctor` says, in its order; starts nothing and writes nothing."""
    return [
        versions(),
        cores(),
        memory(),
        *gpus(),
        precision(),
        ray(),
        storage(),
        disk(directory),
        *databases(),
        data(),
    ]


def examine_cluster(cluster: Cluster) -> list[Finding]:
    """Every node of a cluster, each asked whether it can do a study's work.

    What no study could do without is a finding for each line of the refusal.
    """
    cluster.allow()
    from autosd.search.raytune.joined import join, leave, listing

    try:
        join(cluster)
        return [Finding(f"node {name}", what) for name, what in listing().items()]
    except AutosdError as error:
        advice = "no study can be begun there before that is mended"
        return [Finding("cluster", line, False, advice) for line in str(error).splitlines()]
    finally:
        leave()


def versions() -> Finding:
    """Python, autosd and what decides the numbers."""
    found = [f"Python {platform.python_version()}", f"autosd {metadata.version('autosd')}"]
    found += [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    return Finding("versions", ", ".join(found))


def cores() -> Finding:
    """Cores this process may use; one trial runs on each by default."""
    usable, load = processors(), os.getloadavg()[0]
    busy = load > 0.5 * usable
    advice = "other work slows a search down; give it fewer --slots" if busy else ""
    return Finding("cores", f"{usable} usable, load {load:.1f}", not busy, advice)


def memory() -> Finding:
    """Free main memory against what a slot needs."""
    import psutil

    free = psutil.virtual_memory().available
    slots = int(free / SLOT_MEMORY)
    ok = slots >= processors()
    advice = "" if ok else f"enough for about {slots} slots: use --slots {max(1, slots)}"
    return Finding("memory", f"{free / 1e9:.1f} GB free", ok, advice)


def gpus() -> list[Finding]:
    """Each GPU that torch can use."""
    import torch

    if not torch.cuda.is_available():
        return [Finding("GPU", "none; trials run on the processor")]
    found = [
        torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())
    ]
    return [
        Finding(
            f"GPU {number}",
            f"{of.name}, {of.total_memory / 1e9:.0f} GB",
            advice="--gpus-per-trial auto: as many trials share it as its memory holds",
        )
        for number, of in enumerate(found)
    ]


def precision() -> Finding:
    """The precision that pays on this processor or GPU."""
    import torch

    from autosd.training.precision import native_bf16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if native_bf16(device):
        return Finding("precision", "bf16 in hardware: about 1.5 times faster, used by default")
    return Finding("precision", "fp32 (no bf16 in hardware)")


def ray() -> Finding:
    """Whether the engine is there; it is started by a search only."""
    if importlib.util.find_spec("ray") is None:
        return Finding("Ray", "missing", False, "pip install 'ray[tune]'")
    return Finding("Ray", f"{metadata.version('ray')}, local only, loopback, no telemetry")


def storage() -> Finding:
    """The SQLite that holds a study's record."""
    return Finding("storage", f"SQLite {sqlite3.sqlite_version} in the study's folder")


def disk(directory: Path) -> Finding:
    """Free space where studies go, and whether it can be written."""
    place = directory.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        return Finding("disk", f"{place} is read-only", False, "choose another folder with --dir")
    ok = free > FREE_DISK
    advice = "" if ok else "a study of small images needs up to 2 GB"
    return Finding("disk", f"{free / 1e9:.0f} GB free for {directory}", ok, advice)


def databases() -> list[Finding]:
    """Drivers of database servers, which only --storage needs."""
    drivers = {"PostgreSQL": ("psycopg", "psycopg[binary]"), "MySQL": ("pymysql", "pymysql")}
    return [
        Finding(
            name,
            "driver found" if importlib.util.find_spec(module) else "no driver",
            advice=""
            if importlib.util.find_spec(module)
            else f"only for --storage with a server: pip install '{package}'",
        )
        for name, (module, package) in drivers.items()
    ]


def data() -> Finding:
    """Data sets that need no download."""
    from autosd.data.cache import default_cache

    folder = default_cache() / "data"
    there = sorted(path.name for path in folder.glob("*") if path.is_dir())
    found = f"digits (embedded); in {folder}: {', '.join(there) or 'nothing yet'}"
    advice = "other sets are downloaded when first used; your own: npz:PATH or folder:PATH"
    return Finding("data", found, advice=advice)
