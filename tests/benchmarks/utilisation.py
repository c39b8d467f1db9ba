"""How well a study uses its slots, and how long a search takes to its first epoch.

    python tests/benchmarks/utilisation.py                          50 trials of about 10 s
    python tests/benchmarks/utilisation.py --trials 6 --epochs 10   a small try

The real command line on scikit-learn's digits, every trial trained to its end. It prints when each
thing was first seen from outside, in seconds after the command (its own processes' time beside it,
which other load disturbs least), the utilisation that `autosd status` prints, and where slot time
went that was not spent in steps: at the end, where a slot has nothing left to do, or elsewhere:
between the epochs (the driver records one before the next begins) and between the trials.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from autosd import yamlfile
from autosd.search.study import StudyFolder, close

COMMAND = [sys.executable, "-c", "from autosd.cli.main import main; main()"]
MILESTONES = {
    "lock taken": ".lock",
    "study written": "study.yaml",
    "first ask": "trials/*/recipe.yaml",
    "first epoch on record": "trials/*/history.jsonl",
}


def definition(options: argparse.Namespace) -> dict[str, Any]:
    """The shipped digits study without finalists and pruner."""
    shipped = yamlfile.read(Path(__file__).parents[2] / "studies" / "digits.yaml")
    return {
        **shipped,
        "name": "s",
        "recipe": {**shipped["recipe"], "epochs": options.epochs, "model": options.model},
        "trials": options.trials,
        "slots": options.slots,
        "sampler": options.sampler,
        "pruner": "none",
        "finalists": {"count": 0, "seeds": 1},
    }


def watch(process: subprocess.Popen[bytes], folder: Path, begin: float) -> None:
    """Print each milestone when it is first seen."""
    open_ = dict(MILESTONES)
    while open_ and process.poll() is None:
        for name in [name for name, pattern in open_.items() if any(folder.glob(pattern))]:
            seconds, used = time.monotonic() - begin, processor_seconds(process.pid)
            print(f"{name:24}{seconds:8.2f} s{used:8.2f} s of processor time", flush=True)
            del open_[name]
        time.sleep(0.005)


def processor_seconds(pid: int) -> float:
    """What a process and its living descendants have used."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
    except psutil.NoSuchProcess:
        pass  # it ended while it was asked: what is known of the others counts
    return total


def account(folder: StudyFolder, slots: int) -> None:
    """Where the slots' time went."""
    study = folder.load()
    try:
        use: Mapping[str, float] = study.user_attrs["use"]
        trials = [trial for trial in folder.records(study) if trial.state == "complete"]
    finally:
        close(study)
    ends = sorted(trial.finished.timestamp() for trial in trials if trial.finished)
    tail = sum(ends[-1] - end for end in ends[-slots:])
    elsewhere = (use["slots"] - use["busy"] - tail) / len(trials)
    print(f"a trial: {statistics.median(trial.seconds for trial in trials):.2f} s in steps")
    print(f"slot time: {use['slots']:.1f} s, of it in steps {use['busy']:.1f} s")
    print(f"lost at the end {tail:.1f} s, elsewhere {1000 * elsewhere:.0f} ms for each trial")


def main() -> None:
    """One study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--sampler", default="tpe")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / "s.yaml"
        file.write_text(yamlfile.dumps(definition(options)), encoding="utf-8")
        before, begin = os.times(), time.monotonic()
        with subprocess.Popen(
            [*COMMAND, "search", str(file), "--dir", root], stdout=subprocess.DEVNULL
        ) as process:
            watch(process, Path(root) / "s", begin)
        after = os.times()
        used = sum(after[2:4]) - sum(before[2:4])
        print(f"whole command {time.monotonic() - begin:.1f} s, {used:.1f} s of processor time")
        shown = subprocess.run(
            [*COMMAND, "status", "s", "--dir", root, "--json"], check=True, capture_output=True
        )
        print(f"utilisation by `autosd status`: {json.loads(shown.stdout)['utilisation']:.1%}")
        account(StudyFolder.find("s", Path(root)), options.slots)


if __name__ == "__main__":
    main()
