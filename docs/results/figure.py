"""A comparison as a picture: the difference of every row to cross-entropy, with its interval.

    python docs/results/figure.py docs/results/fashion_search.csv docs/results/fashion_search.svg

Needs plotly and kaleido (the extra `figures`).
"""

import csv
import sys
from pathlib import Path

from plotly import graph_objects

COLORS = {"better": "#1a7f5a", "worse": "#b3402e"}
PLAIN = "#6b7480"


def draw(table: Path, picture: Path) -> None:
    """Points of test top-1, from best to worst; a line that leaves zero out is coloured."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["difference.low"]]
    figure = graph_objects.Figure()
    for row in reversed(rows):
        mean, low, high = (100 * float(row[f"difference.{end}"]) for end in ("mean", "low", "high"))
        figure.add_scatter(
            x=[mean],
            y=[row["recipe"]],
            error_x={"type": "data", "array": [high - mean], "arrayminus": [mean - low]},
            marker={"size": 9, "color": COLORS.get(row["verdict"], PLAIN)},
            showlegend=False,
        )
    figure.add_vline(x=0, line={"color": PLAIN, "width": 1})
    figure.update_layout(
        template="plotly_white",
        width=760,
        height=80 + 26 * len(rows),
        margin={"l": 130, "r": 20, "t": 10, "b": 50},
    )
    figure.update_xaxes(title="points of test top-1 against cross-entropy, 95 % interval")
    figure.write_image(picture)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
