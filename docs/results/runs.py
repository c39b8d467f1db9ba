"""The test scores of every run of a comparison as one file, for the pairs of tables.py.

python docs/results/runs.py runs/fashion_search >docs/results/fashion_search_runs.csv
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path


def rows(study: Path) -> Iterator[dict[str, object]]:
    """A row for each run that was read on test."""
    for path in sorted(study.glob("compare/*/test.json")):
        recipe, _, seed = path.parent.name.rpartition("-")
        scores = json.loads(path.read_text(encoding="utf-8"))["metrics"]["test"]
        yield {"run": recipe, "seed": seed, "top1": scores["top1"], "nll": scores["nll"]}


if __name__ == "__main__":
    writer = csv.DictWriter(sys.stdout, ["run", "seed", "top1", "nll"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(Path(sys.argv[1])))
