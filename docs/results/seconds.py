"""How long an epoch of each run of a comparison took, for `seconds=` of tables.py.

python docs/results/seconds.py runs/quiet_fashion >docs/results/fashion_seconds.csv

It is the last epoch, val included: in the first one RSKD, IPASD and TOAST do not act yet.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path


def rows(study: Path) -> Iterator[dict[str, object]]:
    """A row for each run that has ended."""
    for path in sorted(study.glob("compare/*/result.json")):
        recipe, _, seed = path.parent.name.rpartition("-")
        last = path.with_name("history.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        yield {"recipe": recipe, "seed": seed, "seconds": round(json.loads(last)["seconds"], 3)}


if __name__ == "__main__":
    writer = csv.DictWriter(sys.stdout, ["recipe", "seed", "seconds"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(Path(sys.argv[1])))
