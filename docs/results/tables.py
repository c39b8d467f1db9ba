"""The tables of docs/results.md and the README, made from the files beside this script.

    python docs/results/tables.py                         writes all of them again
    python docs/results/tables.py FILE.csv [OPTION=...]   prints the table of one file

FILE.csv is what `autosd compare` leaves in the study's folder as compare/compare*.csv, what
searches.py, runs.py or seconds.py writes, or a table that is shown as it is; the files here are
copies of it. In a page, a table stands between `<!-- FILE.csv -->` and `<!-- end -->`. Behind the
name of a comparison `first=N` keeps the first rows only, `seconds=THIS.csv` adds the seconds of an
epoch from what seconds.py writes, and `searches=THIS.csv` what was spent to find the recipes that
have the name of a search. Behind that of runs `pairs=A/B,A/C` says which differences A - B and
A - C on test are shown, paired by seed.
"""

import csv
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import MappingProxyType

from autosd.results.numbers import mean_and_sd
from autosd.results.statistics import Difference, paired_difference

HERE = Path(__file__).parent
PAGES = (HERE.parent / "results.md", HERE.parent.parent / "README.md")
MARKED = re.compile(
    r"(<!-- (\S+\.csv)((?: (?:first|seconds|searches|pairs)=\S+)*) -->\n)"
    r"(?:\|.*\n)*(<!-- end -->)"
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
SEARCHES = (
    "search",
    "trials",
    "compute of trials + finalists (plain trainings)",
    "best trial, val, one run",
    "its winner",
    "winner, select",
)
PAIRS = ("recipe", "against", "n", "difference on test (95 %)", "p")
Row = Mapping[str, str]


def table(path: Path, options: Mapping[str, str] = MappingProxyType({})) -> str:
    """A file as Markdown; of a comparison cross-entropy, then best to worst.

    Args:
        path: a comparison, searches, runs, or another table.
        options: what stands behind its name in the marker.
    """
    rows = _read(path)
    if "search" in rows[0]:
        return _markdown([SEARCHES, *_searches(rows)])
    if "run" in rows[0]:
        if "pairs" not in options:
            sys.exit(f"{path}: say which runs to compare, pairs=A/B,C/D")
        return _markdown([PAIRS, *_pairs(rows, options["pairs"])])
    if "recipe" not in rows[0]:
        return _markdown([list(rows[0]), *(list(row.values()) for row in rows)])
    if "seed" in rows[0]:
        column, cells = _seconds(rows)
        return _markdown([("recipe", column), *cells.items()])
    if "test.top1.mean" not in rows[0]:
        sys.exit(f"{path}: of a comparison without --test, which has no such table")
    rows = rows[: int(options.get("first", len(rows)))]
    lines: list[Sequence[str]] = [HEAD, *map(_cells, rows)]
    for kind in (kind for kind in EXTRAS if kind in options):
        column, values = EXTRAS[kind](_read(path.parent / options[kind]))
        if not values.keys() & {row["recipe"] for row in rows}:
            raise ValueError(f"{path}: no row has a name of {options[kind]}")
        cells = [column, *(values.get(row["recipe"], "-") for row in rows)]
        lines = [[*line, cell] for line, cell in zip(lines, cells, strict=True)]
    return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    marked = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in marked)


def _read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _seconds(runs: Sequence[Row]) -> tuple[str, dict[str, str]]:
    taken = {
        name: [float(run["seconds"]) for run in of] for name, of in _by(runs, "recipe").items()
    }
    plain = min(taken.get("cross_entropy", [math.nan]))
    return "seconds an epoch (median); ratio", {
        name: f"{min(of):.1f} ({median(of):.1f}); {min(of) / plain:.2f}"
        for name, of in taken.items()
    }


def _spent(lines: Sequence[Row]) -> tuple[str, dict[str, str]]:
    spent = {name: _compute(of) for name, of in _by(lines, "search").items()}
    return "spent to find it (plain trainings)", {name: f"{of:.0f}" for name, of in spent.items()}


EXTRAS = {"seconds": _seconds, "searches": _spent}


def _by(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """The rows of each value of a column, in the order of the file."""
    values = dict.fromkeys(row[key] for row in rows)
    return {value: [row for row in rows if row[key] == value] for value in values}


def _compute(lines: Sequence[Row]) -> float:
    return sum(float(line["compute"]) for line in lines if line["compute"])


def _searches(lines: Sequence[Row]) -> Iterator[list[str]]:
    for name, of in _by(lines, "search").items():
        trials = [line for line in of if line["line"] == "trial"]
        finalists = [line for line in of if line["line"] == "finalist"]
        states = Counter(line["state"] for line in trials)
        best = max(float(line["value"]) for line in trials if line["state"] == "complete")
        first = finalists[0]
        sd = float(first["sd"]) if first["sd"] else None
        score = mean_and_sd(float(first["value"]), sd, "top1")
        yield [
            name,
            ", ".join(f"{count} {state}" for state, count in states.items()),
            f"{_compute(trials):.1f} + {_compute(finalists):.1f}",
            f"{100 * best:.1f} %",
            first["recipe"],
            f"{score} (n = {first['n']})",
        ]


def _pairs(runs: Sequence[Row], pairs: str) -> Iterator[list[str]]:
    scores: dict[str, dict[str, float]] = {}
    for run in runs:
        scores.setdefault(run["run"], {})[run["seed"]] = float(run["top1"])
    for pair in pairs.split(","):
        own, other = (scores[name] for name in pair.split("/"))
        seeds = sorted(own.keys() & other.keys())
        found = paired_difference([own[seed] for seed in seeds], [other[seed] for seed in seeds])
        yield [*pair.split("/"), str(found.n), _interval(found), f"{found.p:.3f}"]


def _interval(found: Difference) -> str:
    row = {
        "difference.mean": found.mean,
        "difference.low": found.low,
        "difference.high": found.high,
    }
    return _difference({key: str(value) for key, value in row.items()})


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
    digits = 2 if min(abs(low), abs(high)) < 0.05 and low * high > 0 else 1
    return f"{mean} ({low:+.{digits}f} to {high:+.{digits}f})"


def _verdict(verdict: str) -> str:
    return {"reference": "", "no difference shown": "none shown"}.get(verdict, verdict)


def written(page: str) -> str:
    """A page with each of its tables made anew."""

    def remade(found: re.Match[str]) -> str:
        opening, name, given, end = found.groups()
        options = dict(option.split("=", 1) for option in given.split())
        return opening + table(HERE / name, options) + end

    made, count = MARKED.subn(remade, page)
    if count != len(re.findall(r"<!-- \S+\.csv", page)) or count != page.count("<!-- end -->"):
        raise ValueError("a marker of a table has a fault in it, or no end")
    return made


def main() -> None:
    """Print the tables that are named, or write all."""
    names = [word for word in sys.argv[1:] if "=" not in word]
    options = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    for name in names:
        print(table(Path(name), options), end="")
    if not names:
        for page in PAGES:
            page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
