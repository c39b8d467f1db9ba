"""The engine without Ray: one job after the other in this process."""

from autosd.search.interrupts import held
from autosd.search.jobs import DONE, WAIT, Bridge, Job, Steps


def run(bridge: Bridge, worker: Steps) -> None:
    """Do every job of `bridge` with `worker`; what is unfinished on the way out is handed back."""
    try:
        while True:
            with held():
                answer = bridge.ask()
            if answer is DONE:
                return
            if not isinstance(answer, Job):
                raise RuntimeError(f"{WAIT} although nothing is running")
            _finish(bridge, answer, worker)
    finally:
        with held():
            bridge.close()


def _finish(bridge: Bridge, job: Job, worker: Steps) -> None:
    """Step a job to its end; the last result goes to `complete`, the others to `report`."""
    worker.begin(job)
    while True:
        result = worker.step()
        with held():
            if result["done"] or not bridge.report(job, result):
                bridge.complete(job, result, None)
                return
