"""What mattered in a search: between families, and within each of them."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from autosd.results.report.importance import KnobShare, Mattered, mattered
from autosd.results.report.look import BASELINE_COLOUR, OTHER, colours, figure, lines
from autosd.results.report.story import Story
from autosd.results.report.variance import Share

ROW, ROOM = 30, 80
MOST_ROWS = 30
FAMILIES = "choice of family"
METHOD = (
    "Dots are omega squared with its 95 % interval (noncentral F), one question at a time; where "
    "the interval reaches zero, nothing is shown."
)


def what_mattered(story: Story) -> go.Figure | None:
    """The share of variance between families, and that of the knobs of training within them."""
    found = mattered(story)
    rows = [(FAMILIES, found.families, BASELINE_COLOUR)]
    rows += [(one.knob, one.share, OTHER) for one in found.training]
    if all(share.value is None for _, share, _ in rows):
        return None
    note = (
        f"How much of the spread of values lies between families ({found.families.n} complete "
        "trials)"
    )
    if found.training:
        note += ", and how much of the spread within families goes with a knob of training"
    return _forest("What mattered: family and training", f"{note}. {METHOD}", rows)


def knobs_within_families(story: Story) -> go.Figure | None:
    """What each knob explains among the trials of its family, for families with enough trials."""
    found = mattered(story)
    if not found.knobs:
        return None
    of = colours(story)
    rows = [(_label(one, found.knobs), one.share, of[one.family]) for one in found.knobs]
    note = (
        "How much of the spread within a family goes with one of its knobs, pruned trials "
        f"compared with the others at the epoch they reached. {METHOD}{_left_out(found)}"
    )
    if len(rows) > MOST_ROWS:
        note += f" Shown are the first {MOST_ROWS} of {len(rows)}."
    return _forest("What mattered: knobs within families", note, rows[:MOST_ROWS])


def sentences(story: Story) -> list[str]:
    """The same in words, for where there is no room for a figure or too little for one."""
    found = mattered(story)
    said = [_between(found.families)]
    shown = [one for one in (*found.training, *found.knobs) if one.share.shown]
    if shown:
        parts = ", ".join(f"{_where(one)} {_percent(one.share)}" for one in shown[:6])
        said.append(f"Of the spread within families, a share is shown for {parts}.")
    elif found.training or found.knobs:
        said.append("Within families, no knob is shown to matter.")
    return [*said, _left_out(found).strip()] if found.too_few else said


def _where(one: KnobShare) -> str:
    return f"{one.knob} in {one.family}" if one.family else one.knob


def _between(share: Share) -> str:
    if share.value is None:
        return f"How much the choice of family matters cannot be told ({share.why})."
    sure = f"{_percent(share)} of the variance of values lies between families"
    if share.shown:
        return f"{sure} ({share.n} complete trials)."
    return (
        f"The choice of family is not shown to matter: {sure}, and the interval reaches zero "
        f"({share.n} complete trials)."
    )


def _percent(share: Share) -> str:
    value = 100 * (share.value or 0.0)
    if share.low is None or share.high is None:
        return f"{value:.0f} % (no interval)"
    return f"{value:.0f} % (95 % interval {100 * share.low:.0f} to {100 * share.high:.0f} %)"


def _left_out(found: Mattered) -> str:
    if not found.too_few:
        return ""
    names = [family for family, _ in found.too_few]
    if len(names) > 8:
        return f" Too few trials to tell of the knobs of {len(names)} families."
    return f" Too few trials to tell of the knobs of {', '.join(names)}."


def _label(one: KnobShare, among: Sequence[KnobShare]) -> str:
    """The knob's name, with its family where that cannot be seen in it or another has it too."""
    own = one.knob.split(".")[0] == one.family
    alone = sum(other.knob == one.knob for other in among) == 1
    return one.knob if own and alone else f"{one.knob} ({one.family})"


def _forest(title: str, note: str, rows: Sequence[tuple[str, Share, str]]) -> go.Figure:
    shape = figure(title, note, ROOM + ROW * len(rows), showlegend=False)
    told = [(name, share, colour) for name, share, colour in rows if share.value is not None]
    values = [share.value or 0.0 for _, share, _ in told]
    shape.add_scatter(
        x=values,
        y=[escape(name) for name, _, _ in told],
        mode="markers",
        marker={
            "size": 10,
            "color": [colour for _, _, colour in told],
            "symbol": ["circle" if share.shown else "circle-open" for _, share, _ in told],
        },
        error_x={
            "array": [max(0.0, (one.high or 0.0) - (one.value or 0.0)) for _, one, _ in told],
            "arrayminus": [max(0.0, (one.value or 0.0) - (one.low or 0.0)) for _, one, _ in told],
            "color": OTHER,
            "thickness": 2,
            "width": 4,
        },
        hovertext=[lines(name, _percent(one), f"{one.n} trials") for name, one, _ in told],
        hoverinfo="text",
    )
    for name, share, _ in rows:
        if share.value is None:
            shape.add_annotation(
                x=0.0,
                y=escape(name),
                text=escape(share.why),
                showarrow=False,
                xanchor="left",
                font={"color": OTHER},
            )
    shape.update_xaxes(
        range=[-0.02, 1.02], tickformat=".0%", nticks=6, title_text="variance explained"
    )
    names = [escape(name) for name, _, _ in reversed(rows)]
    shape.update_yaxes(
        type="category", categoryorder="array", categoryarray=names, range=[-0.6, len(rows) - 0.4]
    )
    return shape
