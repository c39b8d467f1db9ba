"""A comparison as one HTML page that needs no network: figures, the table, what has to be said."""

from html import escape
from typing import TYPE_CHECKING

from autosd.results.compare_figures import (
    NAMES,
    SHOWN_CURVES,
    costs,
    curves,
    differences,
    times,
    unit,
)
from autosd.results.compare_table import METRICS, Row
from autosd.results.statistics import Summary
from autosd.results.wording import amount, interval

if TYPE_CHECKING:
    from autosd.results.compare import Compared

MEGA = 1e6
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff; margin: 0 auto;
       max-width: 1320px; padding: 16px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 28px 0 6px; }
p.about, .note { color: #57606a; }
ul { padding-left: 20px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; white-space: nowrap;
         border-bottom: 1px solid #d0d7de; }
th { border-bottom: 2px solid #8c959f; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
td.word { text-align: left; }
.better { color: #1a7f37; font-weight: 600; }
.worse, .diverged, .incomplete { color: #b42318; font-weight: 600; }
"""
CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def page(compared: "Compared") -> str:
    """The page; every name in it is escaped."""
    title = f"{compared.model} on {compared.data}: strategies compared"
    figures = [
        ("Differences with their certainty", _about_differences(compared), differences(compared)),
        ("Gain and cost", _about_costs(), costs(compared)),
        ("Learning curves", _about_curves(compared), curves(compared)),
    ]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="about">{escape(_about(compared))}</p>',
        "<h2>Against cross-entropy</h2>",
        f'<div class="wide">{_differences(compared)}</div>',
        f'<p class="note">{escape(ABOUT_SCORES)}</p>',
        f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in compared.remarks)}</ul>",
        "<h2>Scores</h2>",
        f'<div class="wide">{_scores(compared)}</div>',
    ]
    for number, (head, about, figure) in enumerate(figures):
        body.append(f'<h2>{escape(head)}</h2><p class="note">{escape(about)}</p>')
        body.append(figure.to_html(full_html=False, include_plotlyjs=number == 0, config=CONFIG))
    body += ["<h2>What it took</h2>", f'<div class="wide">{_efforts(compared)}</div>']
    body.append(f'<p class="note">{escape(ABOUT_EFFORT)}</p>')
    return (  # the viewport makes a telephone use its own width
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


ABOUT_SCORES = (
    "Detectable: the smallest mean difference that so many seeds could have shown with this "
    "spread, one comparison at a time. Scores: mean ± standard deviation over seeds."
)
ABOUT_EFFORT = (
    "Cost: of a step, plain training's as 1: a forward counts a third, a backward two thirds; "
    "declared by the strategies, and measured as training time per image. Forwards are images "
    "through the student, counted. State: parameters, buffers and per-sample memories of student "
    "and strategy, without gradients and optimiser."
)


def _about(compared: "Compared") -> str:
    seeds = len(compared.seeds)
    images = ", ".join(f"{count:,} images of {part}" for part, count in compared.images.items())
    paired = f"{seeds} paired seeds ({compared.seeds[0]} to {compared.seeds[-1]})"
    what = "image passes" if compared.budget == "compute" else "epochs"
    return (
        f"{paired if seeds > 1 else f'one seed ({compared.seeds[0]})'}; equal {what}, "
        f"{compared.epochs} epochs of plain training; last epoch; {images}; "
        f"differences are of {NAMES[compared.metric]} on {compared.part}, in {unit(compared)}."
    )


def _about_differences(compared: "Compared") -> str:
    if len(compared.seeds) == 1:
        return "One seed: there are no intervals, and nothing is shown by these points."
    return (
        "Mean over paired seeds with the 95 % interval of Student's t, one comparison at a time; "
        "what lies far beyond the others is cut. "
        "The split is the same for all seeds: other splits vary more."
    )


def _about_costs() -> str:
    return (
        "A gain that costs a multiple should be held against plain training of equal compute. "
        "Named are the recipes that no cheaper one beats; what lies far beyond the others is cut."
    )


def _about_curves(compared: "Compared") -> str:
    hidden = len(compared.rows) - 1 > SHOWN_CURVES
    more = f" Shown are the best {SHOWN_CURVES}; click a name to add it." if hidden else ""
    return f"Mean over seeds, cross-entropy in black.{more}"


def _scores(compared: "Compared") -> str:
    heads = [f"{part} {NAMES[name]}" for part in compared.images for name in METRICS]
    rows = [
        [
            row.recipe,
            _count(row, len(compared.seeds)),
            *(
                _spread(row.scores[part].get(name), name)
                for part in compared.images
                for name in METRICS
            ),
        ]
        for row in compared.rows
    ]
    return _table(["recipe", "n", *heads], rows)


def _differences(compared: "Compared") -> str:
    heads = ["recipe", "verdict", "difference", "95 % interval", "Holm's verdict", "p", "p (Holm)"]
    rows = [_difference_cells(row, compared.metric) for row in compared.rows[1:]]
    return _table([*heads, "detectable"], rows)


def _difference_cells(row: Row, metric: str) -> list[str]:
    apart = row.difference
    if apart is None:
        return [row.recipe, row.verdict, "", "", row.verdict_holm, "", "", ""]
    return [
        row.recipe,
        _short(row.verdict),
        amount(apart.mean, metric).split()[0],
        interval(apart, metric),
        _short(row.verdict_holm),
        _p(apart.p),
        _p(row.p_holm),
        "" if apart.smallest is None else amount(apart.smallest, metric).split()[0][1:],
    ]


def _efforts(compared: "Compared") -> str:
    heads = ["recipe", "epochs", "declared cost", "measured cost", "images", "forwards"]
    heads += ["seconds a run", "state of student", "state of strategy"]
    return _table(heads, [_effort_cells(row) for row in compared.rows])


def _effort_cells(row: Row) -> list[str]:
    effort = row.effort
    if effort.declared is None or effort.memory is None:
        return [row.recipe, *[""] * 8]
    return [
        row.recipe,
        f"{effort.epochs}",
        f"{effort.declared['step']:.2f}",
        times(effort.measured),
        f"{effort.images:,}",
        f"{effort.forwards:,}",
        f"{effort.seconds:.1f}",
        f"{effort.memory['student'] / MEGA:.2f} MB",
        f"{effort.memory['strategies'] / MEGA:.2f} MB",
    ]


def _table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    lines = "".join(f"<tr>{''.join(_cell(one) for one in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(text: str) -> str:
    kind = text if text in {"better", "worse", "diverged", "incomplete"} else ""
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _short(verdict: str) -> str:
    return "none shown" if verdict == "no difference shown" else verdict


def _count(row: Row, planned: int) -> str:
    return str(row.n) if row.n == planned else f"{row.n} of {planned}"


def _spread(value: Summary | None, metric: str) -> str:
    if value is None:
        return ""
    scale, digits = (100.0, 2) if metric == "top1" else (1.0, 3)
    text = f"{scale * value.mean:.{digits}f}"
    return text if value.sd is None else f"{text} ± {scale * value.sd:.{digits}f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
