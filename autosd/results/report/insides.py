"""Inside the search: what mattered, the knobs that are asked for most, accuracy against cost."""

from autosd.results.numbers import metric
from autosd.results.report.blocks import Block, Items, Row, Section, Table, Text, row
from autosd.results.report.figures_cost import Price, alike, costs, pareto
from autosd.results.report.figures_importance import sentences
from autosd.results.report.figures_knobs import NAMED
from autosd.results.report.story import Story
from autosd.search.knobs import Knob

CAUTION = (
    "The choice of family is measured first, then each knob among the trials of its own family. "
    "Importance as Optuna's dashboard shows it is another thing: where each family has knobs of "
    "its own it can give a single knob nearly all, and the choice of family nearly nothing, "
    "though that choice decides. Trials were chosen by the sampler, not at random, so a share is "
    "a description of these trials."
)
MEANINGS = {
    "masd.mask_ratio": "share of a feature map that a branch does not see",
    "masd.weighting_temperature": "how equal the heads are as teachers",
    "rskd.residual_layers": "layers that predict the gap to the teacher",
    "toast.medoid_mix": "share of the class medoid in the target",
}


def mattered(story: Story) -> Section:
    """What made the difference between trials, in words; its figures follow."""
    if not story.complete:
        return Section("mattered", "What mattered", [])
    blocks: list[Block] = [Items(sentences(story)), Text(CAUTION, "note")]
    return Section("mattered", "What mattered", blocks)


def knobs(story: Story) -> Section:
    """The four knobs that are asked for most; their slices follow."""
    known, title = story.space.parameters(), "Four knobs, and compositions"
    here = [known[name] for name in NAMED if name in known]
    absent = [name for name in NAMED if name not in known]
    blocks: list[Block] = []
    if here:
        heads = ["knob", "what it is", "searched", "published", "trials", "best trial with it"]
        about = "The knobs that are asked for most, as far as the space has them:"
        blocks = [Text(about), Table(heads, [_knob(story, one) for one in here], ["what it is"])]
    if absent:
        blocks.append(Text(f"Not in this space: {', '.join(absent)}.", "note"))
    return Section("knobs", title, blocks)


def _knob(story: Story, knob: Knob) -> Row:
    having = [one for one in story.complete if knob.name in one.params]
    best = None
    if having:
        pick = min if story.minimise else max
        best = pick(having, key=lambda one: one.value or 0.0)
    shown = "-"
    if best is not None:
        value = metric(best.value, story.objective, story.images.get("val"))
        shown = f"{_short(best.params[knob.name])}: {value} ({best.family})"
    return row(
        knob.name,
        MEANINGS.get(knob.name, ""),
        _range(knob),
        _short(knob.default),
        str(len(having)),
        shown,
    )


def _range(knob: Knob) -> str:
    if knob.kind == "choice":
        return ", ".join(_short(one) for one in knob.choices)
    low, high = knob.bounds
    return f"{_short(low)} to {_short(high)}" + (", log" if knob.log else "")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def cost(story: Story) -> Section:
    """Trials that none of at most their cost beats; the figure follows."""
    title = "Accuracy and cost"
    prices, unit = costs(story)
    if not prices:
        return Section("cost", title, [Text("What trials cost is not known.", "note")])
    front = pareto(prices, story.minimise)
    about = (
        "The Pareto front: trials that no other one of at most their cost beats, cheapest first. "
        f"Cost is {unit}; plain training costs 1, and {alike(prices)}."
    )
    heads = ["recipe", "cost", "on val"]
    return Section(
        "cost", title, [Text(about), Table(heads, [_price(story, one) for one in front])]
    )


def _price(story: Story, one: Price) -> Row:
    value = metric(one.value, story.objective, story.images.get("val"))
    return row(f"{one.trial.family}, trial {one.trial.number}", f"{one.cost:.2f}", value)
