"""A Ray cluster that is there already: joined, looked at, left; never started or stopped."""

import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autosd.errors import AutosdError, EngineLost
from autosd.search.capacity import room_on
from autosd.search.cluster import Cluster
from autosd.search.place import Place
from autosd.search.raytune.fitness import unfit, versions
from autosd.search.raytune.modules import DriverModules
from autosd.search.raytune.supply import open_depot

KNOCK_SECONDS = 60.0
DOOR_SECONDS = 5.0
PROBE_SECONDS = 120.0
LOOK_SECONDS = 2.0
MISSED = 3
"""Knocks at Ray's core in a row without an answer, one a second, after which it is lost."""

_joined: Cluster | None = None


def join(cluster: Cluster) -> None:
    """Connect this process, once, and look at every node.

    Raises:
        AutosdError: no cluster answers there, or a node cannot do the work; names it and says why.
    """
    global _joined
    if _joined == cluster and ray.is_initialized():
        return
    leave()
    _knock(cluster.address)
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        job_config=DriverModules(),
    )
    _joined = cluster
    _check_nodes(cluster)


def leave() -> None:
    """Disconnect; the cluster and what others run on it stay as they are."""
    global _joined
    _joined = None
    ray.shutdown()


def nodes() -> list[dict[str, Any]]:
    """The living nodes as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def listing() -> dict[str, str]:
    """Name of every living node, and what it has."""
    return {
        _name(node): f"{node['Resources'].get('CPU', 0):g} cores, "
        f"{node['Resources'].get('GPU', 0):g} GPUs"
        for node in nodes()
    }


def room(cpus: int, gpus: float) -> int:
    """Jobs that fit on all living nodes together; none is spread over two."""
    return sum(_fits(node["Resources"], cpus, gpus) for node in nodes())


def _fits(resources: dict[str, float], cpus: int, gpus: float) -> int:
    by_cpus = int(resources.get("CPU", 0)) // cpus
    return min(by_cpus, room_on(int(resources.get("GPU", 0)), gpus)) if gpus else by_cpus


def gpus() -> list[str]:
    """The GPUs of all living nodes."""
    return [
        f"{node['NodeID']}/{gpu}"
        for node in nodes()
        for gpu in range(int(node["Resources"].get("GPU", 0)))
    ]


class JoinedCore:
    """The core of a cluster, seen from a driver that only visits it."""

    def __init__(self, cluster: Cluster, asked: int | None, cpus: int, gpus: float) -> None:
        """Nothing is joined yet.

        Args:
            cluster: where.
            asked: jobs at the same time at most, None for as many as there is room for.
            cpus: threads of each job.
            gpus: share of a GPU for each job, the least one where each says its own.
        """
        self.cluster, self.asked, self.cpus, self.gpus = cluster, asked, cpus, gpus
        self._room, self._looked, self._missed = 0, -LOOK_SECONDS, 0
        self._doors: list[tuple[str, int]] = []

    def start(self) -> None:
        join(self.cluster)
        here = ray.get_runtime_context().get_node_id()
        (node,) = [node for node in nodes() if node["NodeID"] == here]
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        raylet = node["NodeManagerAddress"], int(node["NodeManagerPort"])
        self._doors = [(host.strip("[]"), int(port)), raylet]

    def stop(self) -> None:
        leave()

    def dead(self) -> bool:
        """Whether the head, or this machine's part of the cluster, does not answer any more."""
        self._missed = 0 if all(map(_opens, self._doors)) else self._missed + 1
        return self._missed >= MISSED

    def slots(self) -> int:
        """How many jobs there is room for now: nodes come and go."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._room, self._looked = room(self.cpus, self.gpus), time.monotonic()
        return self._room if self.asked is None else min(self.asked, self._room)

    def supply(self) -> dict[str, Any]:
        """What every worker needs to know beside its job."""
        return {"depot": open_depot(), "versions": versions()}


def _opens(door: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(door, timeout=DOOR_SECONDS):
            return True
    except OSError:
        return False


def _knock(address: str) -> None:
    """See in a process of its own whether a cluster answers: Ray would wait for minutes, or abort.

    Raises:
        AutosdError: it does not; says why.
    """
    where = f"--ray-address {address}"
    host, _, port = address.rpartition(":")
    if host and not _opens((host.strip("[]"), int(port))):
        raise AutosdError(
            f"{where}: nothing answers there; the head is started with ray start --head and says "
            "its address"
        )
    join = f"import ray; ray.init(address={address!r}, log_to_driver=False, logging_level='ERROR')"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", join],
            capture_output=True,
            text=True,
            timeout=KNOCK_SECONDS,
            env=os.environ,
        )
    except subprocess.TimeoutExpired:
        raise AutosdError(
            f"{where}: no Ray cluster answered within {KNOCK_SECONDS:g} s; ray status on this "
            "machine says whether it belongs to one"
        ) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip() and line[0] not in " ["]
        reason = lines[-1].partition(": ")[2] if lines else f"exit code {done.returncode}"
        raise AutosdError(
            f"{where}: cannot be joined ({reason[:300]}); see that its token is here, in "
            "RAY_AUTH_TOKEN or the file that RAY_AUTH_TOKEN_PATH names"
        )


@dataclass(frozen=True)
class _Token:
    """A file that the driver has put at the place of checkpoints, for nodes to find."""

    address: str
    name: str
    text: str


def _check_nodes(cluster: Cluster) -> None:
    """Ask every node whether it can do this driver's work.

    Raises:
        AutosdError: one line for each node that cannot.
    """
    token = None
    if cluster.checkpoints is not None:
        token = _Token(cluster.checkpoints, f"probe-{secrets.token_hex(4)}", secrets.token_hex(8))
        Place(token.address).write(token.name, token.text)
    try:
        asked = [(_name(node), _ask(node, token)) for node in nodes()]
        faults = [fault for name, answer in asked if (fault := _answer(name, answer))]
    finally:
        if token is not None:
            Place(token.address).remove(token.name)
    if faults:
        raise AutosdError("\n".join(faults))


def _ask(node: dict[str, Any], token: _Token | None) -> Any:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(_probe).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
    return task.remote(versions(), token)


def _probe(wanted: dict[str, str], token: _Token | None) -> str:
    """Why this node cannot do the work of a driver; empty where it can."""
    fault = unfit(wanted)
    if fault or token is None:
        return fault
    try:
        seen = Place(token.address).read(token.name) == token.text
    except AutosdError as error:
        return str(error)
    return "" if seen else f"--checkpoints {token.address}: is not the folder that the driver sees"


def _answer(name: str, answer: Any) -> str:
    why: Callable[[str], str] = lambda reason: f"node {name}: {reason}"  # noqa: E731
    try:
        fault: str = ray.get(answer, timeout=PROBE_SECONDS)
    except GetTimeoutError:
        return why(f"gave no answer within {PROBE_SECONDS:g} s")
    except RayTaskError as error:
        missing = isinstance(error.cause, ImportError)
        return why(f"{error.cause}" + ("; install the same autosd there" if missing else ""))
    except RayError as error:
        raise EngineLost(f"node {name} was lost: {type(error).__name__}") from None
    return why(fault) if fault else ""


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
