"""The study's note on the dashboard: what it is about, what it found, what to type next."""

from autosd.results import card
from autosd.results.numbers import mean_and_sd, percent
from autosd.results.report.story import Story
from autosd.results.retrained import Retrained
from autosd.results.wording import interval, sentence

COMMANDS = (
    ("status", "", "where it stands, what failed and why"),
    ("best", " --yaml best.yaml", "the best recipe as a file"),
    ("retrain", " --seeds 5", "on all training data, read on test"),
    ("report", "", "one HTML file to keep or show"),
    ("dashboard", "", "this page"),
)


def note(story: Story) -> str:
    """The note as Markdown."""
    definition, recipe = story.definition, story.definition.recipe
    parts = [
        f"# {story.name}",
        f"{word(recipe.model.name)} on {word(recipe.data.name)}, {recipe.epochs} epochs a trial; "
        f"objective {definition.objective} on `val`. Families: {', '.join(story.space.families)}.",
        *_found(story),
        *([] if story.retrained is None else _retrained(story.retrained)),
        "## Commands",
        _commands(story.handle),
        "Add `--dir FOLDER` where the study lies elsewhere than in `runs/`.",
        "The plot *Hyperparameter Importance* misleads where families have knobs of their own: "
        "look at *What mattered* further down instead.",
    ]
    return "\n\n".join(part for part in parts if part)


def word(text: str) -> str:
    """A name as Markdown that nothing in it can leave."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _found(story: Story) -> list[str]:
    """The result so far in words, and the finalists."""
    if story.winner is None:
        return ["No trial is complete yet: the result will stand here at the end of the search."]
    now = story.counts
    ended = (
        f"{now.counted} of {story.definition.trials} trials ended: {now.complete} complete, "
        f"{now.pruned} pruned, {now.failed} failed"
    )
    use = story.use.share
    busy = "" if use is None else f"; slots busy {percent(use)} of their time"
    lines = [f"**Best: {story.winner.line}.**", f"{ended}{busy}."]
    if not story.compared:
        return lines
    first = story.compared[0]
    table = card.table(story.compared, story.objective, story.images.get("select"))
    return [
        lines[0],
        sentence(first.finalist.label, first.difference, story.objective),
        lines[1],
        "## Finalists on `select` (fresh seeds)",
        "\n".join(table),
    ]


def _retrained(retrained: Retrained) -> list[str]:
    """The table of `autosd retrain`."""
    lines = ["| recipe | mean ± sd | seeds | 95 % interval | verdict |", "|---|---|---|---|---|"]
    metric = retrained.metric
    for row in retrained.rows:
        score = row.metrics.get(metric)
        shown = (
            "-" if score is None else mean_and_sd(score.mean, score.sd, metric, retrained.images)
        )
        apart = "-" if row.difference is None else interval(row.difference, metric)
        lines.append(f"| {row.recipe} | {shown} | {row.n} | {apart} | {row.verdict} |")
    return ["## Retrained on all training data, on `test`", "\n".join(lines)]


def _commands(name: str) -> str:
    rows = [f"autosd {command} {name}{rest}" for command, rest, _ in COMMANDS]
    width = max(len(row) for row in rows)
    said = zip(rows, COMMANDS, strict=True)
    return "```\n" + "\n".join(f"{row:<{width}}  # {what}" for row, (*_, what) in said) + "\n```"
