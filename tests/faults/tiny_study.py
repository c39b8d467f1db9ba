"""The smallest study with everything in it: its writes are enumerated, failed, killed and cut."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .invariants import Witness, counting

TRIALS, EPOCHS = 2, 2


def search(scratch: Path) -> tuple[Path, list[str]]:
    """The folder of a study below `scratch`, and the words of the command that makes it.

    Its data are 60 pictures of three shades.
    """
    noise = np.random.default_rng(0).integers(0, 60, (60, 8, 8, 1))
    labels = np.arange(60) % 3
    images = (noise + 80 * labels[:, None, None, None]).astype(np.uint8)
    parts = {"train": slice(60), "test": slice(12)}
    arrays = {f"{part}_images": images[these] for part, these in parts.items()}
    arrays |= {f"{part}_labels": labels[these] for part, these in parts.items()}
    np.savez(scratch / "tiny.npz", **arrays)  # type: ignore[arg-type]
    study = scratch / "runs/tiny"
    study.parent.mkdir()
    return study, [
        *["search", "--inline", "--dir", str(study.parent), "--name", study.name],
        *["--data", f"npz:{scratch / 'tiny.npz'}", "--model", "resnet8", "--epochs", str(EPOCHS)],
        *["--trials", str(TRIALS), "--space", "label_smoothing"],
        *["--set", "finalists.count=1", "--set", "finalists.seeds=1", "--set", "objective=nll"],
    ]


def outcome(study: Path) -> dict[str, Any]:
    """What may not depend on a fault: values of trials, scores of finalists, who won."""
    values = {
        json.dumps(trial.params, sort_keys=True): sorted(trial.intermediate_values.items())
        for trial in counting(Witness(study).read())
    }
    results = {
        str(path.relative_to(study)): json.loads(path.read_text())["metrics"]
        for path in study.glob("finalists/*/result.json")
    }
    best = json.loads((study / "best/metrics.json").read_text())
    return {"values": values, "results": results, "best": best["winner"]}
