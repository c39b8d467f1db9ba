"""The tables of docs/results.md and the README, made from the files beside this script.

    python docs/results/tables.py               writes all of them again
    python docs/results/tables.py FILE.csv      prints the table of one comparison

FILE.csv is what `autosd compare` leaves in the study's folder as compare/compare*.csv; the files
here are copies of it. In a page, a table stands between `<!-- FILE.csv -->` and `<!-- end -->`;
behind the name, `first=N` keeps the first rows only, and `seconds=THIS.csv` adds the seconds of the
runs of a file, the same or another, which had the machine for themselves.
"""

import csv
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from autosd.results.numbers import mean_and_sd

HERE = Path(__file__).parent
PAGES = (HERE.parent / "results.md", HERE.parent.parent / "README.md")
MARKED = re.compile(
    r"(<!-- (\S+\.csv)(?: first=(\d+))?(?: seconds=(\S+\.csv))? -->\n).*?(<!-- end -->)", re.DOTALL
)
HEAD = (
    "recipe",
    "n",
    "test top-1",
    "difference to cross-entropy (95 %)",
    "one by one",
    "all together (Holm)",
    "test NLL",
    "epochs",
    "cost of a step",
)
SECONDS = "seconds an epoch"
Row = Mapping[str, str]


def table(path: Path, first: int | None = None, times: Path | None = None) -> str:
    """A comparison as Markdown, the rows in the file's order: cross-entropy, then best to worst.

    Args:
        path: the comparison.
        first: how many rows; None for all.
        times: the comparison to take the seconds from; None for no such column.
    """
    rows = _read(path)[:first]
    lines = [HEAD, ["---"] * len(HEAD), *map(_cells, rows)]
    if times is not None:
        seconds = {row["recipe"]: _epoch_seconds(row) for row in _read(times)}
        column = [SECONDS, "---", *(seconds.get(row["recipe"], "-") for row in rows)]
        lines = [[*line, cell] for line, cell in zip(lines, column, strict=True)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _epoch_seconds(row: Row) -> str:
    return f"{float(row['seconds']) / float(row['epochs']):.1f}"


def _cells(row: Row) -> list[str]:
    return [
        row["recipe"],
        row["n"],
        _spread(row, "top1"),
        _difference(row),
        _verdict(row["verdict"]),
        _verdict(row["verdict_holm"]),
        _spread(row, "nll"),
        row["epochs"],
        f"{float(row['cost.declared.step']):.2f}" if row["cost.declared.step"] else "",
    ]


def _spread(row: Row, metric: str) -> str:
    mean, sd = row[f"test.{metric}.mean"], row[f"test.{metric}.sd"]
    return mean_and_sd(float(mean), float(sd) if sd else None, metric) if mean else "-"


def _difference(row: Row) -> str:
    if not row["difference.mean"]:
        return ""
    mean = f"{100 * float(row['difference.mean']):+.1f}"
    if not row["difference.low"]:
        return mean
    low, high = (100 * float(row[f"difference.{end}"]) for end in ("low", "high"))
    return f"{mean} ({low:+.1f} to {high:+.1f})"


def _verdict(verdict: str) -> str:
    return {"reference": "", "no difference shown": "none shown"}.get(verdict, verdict)


def written(page: str) -> str:
    """A page with each of its tables made anew."""

    def remade(found: re.Match[str]) -> str:
        opening, name, first, times, end = found.groups()
        rows = int(first) if first else None
        return opening + table(HERE / name, rows, HERE / times if times else None) + end

    return MARKED.sub(remade, page)


def main() -> None:
    """Print the tables that are named, or write all."""
    for name in sys.argv[1:]:
        print(table(Path(name)), end="")
    if not sys.argv[1:]:
        for page in PAGES:
            page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
