"""A Ray cluster that a run joins, as the user names it."""

import os
import re
from dataclasses import dataclass

from autosd.errors import AutosdError

ADDRESS = re.compile(r"auto|[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


@dataclass(frozen=True)
class Cluster:
    """Where a run finds other machines, and where these find its checkpoints.

    Neither is part of a study: the same study goes on anywhere.

    Attributes:
        address: `HOST:PORT` of a head, or `auto` for the cluster this machine belongs to.
        checkpoints: folder or fsspec address that every node can write to; None where the nodes
            see the study folder itself.
    """

    address: str
    checkpoints: str | None = None

    def __post_init__(self) -> None:
        if self.address.startswith("ray://"):
            raise AutosdError(
                f"--ray-address {self.address}: a run is driven from a machine of the cluster, not "
                "through ray://; start it there with --ray-address auto"
            )
        if not ADDRESS.fullmatch(self.address):
            raise AutosdError(f"--ray-address {self.address}: HOST:PORT or auto is needed")
        if re.match(r"\w[\w+.-]*://[^/@]*:[^/@]*@", self.checkpoints or ""):
            raise AutosdError(
                "--checkpoints: has a password, which would be written to the study; leave it to "
                "the environment of the nodes"
            )

    def allow(self) -> None:
        """Let Ray of this process use the network; to be called before Ray is imported."""
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
        os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "256")  # actors started at a time


def chosen(address: str | None, checkpoints: str | None) -> Cluster | None:
    """The cluster of two options; None where a run stays on this machine.

    Raises:
        AutosdError: an address that cannot be one, or checkpoints without a cluster.
    """
    if address is not None:
        return Cluster(address, checkpoints)
    if checkpoints is not None:
        raise AutosdError("--checkpoints: goes with --ray-address; one machine needs none")
    return None
