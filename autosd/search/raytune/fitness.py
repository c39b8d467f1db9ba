"""Whether a machine can do the work of a driver: the same versions, and it sees the study."""

import platform
from importlib import metadata
from pathlib import Path

from autosd.search.jobs import Job

LIBRARIES = ("autosd", "torch", "ray")


class Unfit(Exception):
    """A node that was sent a job it cannot do; its text names the node and says why."""


def versions() -> dict[str, str]:
    """What has to be equal on all machines of a run."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    return {"Python": platform.python_version(), **found}


def unfit(wanted: dict[str, str]) -> str:
    """Which versions here are not the driver's; empty where all are."""
    here = versions()
    return ", ".join(
        f"has {name} {here[name]}, the driver {version}"
        for name, version in wanted.items()
        if here[name] != version
    )


def require_fit(wanted: dict[str, str], job: Job) -> None:
    """Refuse a job that would fail here for no fault of its own.

    Raises:
        Unfit: other versions, or the study's folder is not seen from here.
    """
    fault = unfit(wanted)
    if not fault and "://" not in job.lock and not Path(job.lock).exists():
        fault = (
            f"does not see {job.lock}; name a folder that every node sees, or an address such as "
            "s3://bucket/autosd, with --checkpoints"
        )
    if fault:
        raise Unfit(f"node {platform.node()}: {fault}")
