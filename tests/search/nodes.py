"""A Ray cluster of several nodes on this machine, in a process of its own, for tests.

`python nodes.py FOLDER NODES` prints the head's address, then obeys lines on its input: `kill N`
ends a node at once, `add` starts one more, `kill head` ends the head. Each node has temporary
folder and cache of its own below FOLDER, and one slot; the head, on which the driver is, has none.
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "0123456789abcdef" * 4
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every node on loopback
    "RAY_enable_metrics_collection": "0",
}
STORE = 80 * 2**20


@dataclass
class Nodes:
    """The cluster from outside.

    Attributes:
        address: of the head.
        folder: has a folder for each node.
    """

    address: str
    folder: Path
    process: subprocess.Popen[str]

    def tell(self, line: str) -> None:
        """Have something done, and wait until it is."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline().strip() == "done"


@contextlib.contextmanager
def cluster(folder: Path, nodes: int) -> Iterator[Nodes]:
    """A cluster for the length of a test; nothing of it is left."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), str(nodes)],
        env={**os.environ, **SETTINGS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Nodes(process.stdout.readline().strip(), folder, process)
    finally:
        process.communicate(timeout=120)


def _own(folder: Path, name: str) -> dict[str, Any]:
    """What tells a node from others of the same machine."""
    places = {"TMPDIR": folder / name / "tmp", "XDG_CACHE_HOME": folder / name / "cache"}
    for place in places.values():
        place.mkdir(parents=True)
    return {"object_store_memory": STORE, "env_vars": {k: str(v) for k, v in places.items()}}


def main(folder: Path, nodes: int) -> None:
    """Serve until the input ends."""
    from ray.cluster_utils import Cluster

    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="asd-t-", ignore_cleanup_errors=True) as temporary:
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": temporary}
        made = Cluster(initialize_head=True, head_node_args=head | _own(folder, "head"))
        workers = [made.add_node(num_cpus=1, **_own(folder, f"node{n}")) for n in range(nodes)]
        made.wait_for_nodes()
        print(made.address, flush=True)
        for line in sys.stdin:
            if line.strip() == "add":
                workers.append(made.add_node(num_cpus=1, **_own(folder, f"node{len(workers)}")))
            elif line.strip() == "kill head":
                made.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
            else:
                made.remove_node(workers[int(line.split()[1])], allow_graceful=False)
            print("done", flush=True)
        made.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
