"""The beginning of a report: the result in a sentence, when it was made, the numbers behind it."""

import datetime
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from autosd.results import numbers
from autosd.results.leaderboard import BASELINE
from autosd.results.numbers import duration, metric, percent
from autosd.results.outcome import Winner
from autosd.results.report.blocks import Text, Tile
from autosd.results.report.story import Story
from autosd.results.retrained import Retrained
from autosd.results.wording import against, sentence
from autosd.search import address
from autosd.search.requests import driver_anywhere

LONGEST_NAME = 60
FROM_PYTHON = "autosd.search"
"""What stands for the command of a study that was begun by a call; see `results.calls`."""


def result(story: Story) -> str:
    """What is known of the winner, in one sentence; the same words as at the end of a search."""
    if story.winner is None and story.complete:
        return "The winner cannot be told: files that would say it are missing or broken."
    if story.winner is None:
        return "No trial is complete yet, so there is no result."
    if story.winner.confirmed and story.compared:
        first = story.compared[0]
        return sentence(first.finalist.label, first.difference, story.objective)
    return f"Best so far, which claims no difference: {story.winner.line}."


def lead(story: Story, table: Retrained | None) -> list[Text]:
    """The result, what stands behind it, and the next step where one is left."""
    texts = [Text(result(story)), *(Text(line, "note") for line in _behind(story))]
    if table is not None:
        texts.append(Text(f"On test: {on_test(table)}"))
        texts += [Text(line, "note") for line in table.claims[1:]]
    elif story.winner is not None and story.winner.confirmed:
        texts.append(
            Text(
                "Not retrained yet: the numbers above are of students that learned from the "
                "training part alone, and test was not used for them. All training data, more "
                "seeds and test:",
                "note",
                f"autosd retrain {story.handle} --seeds 5",
            )
        )
    elif (
        story.winner is not None
        and driver_anywhere(story.folder.lock_path, story.folder.url) is None
    ):
        texts.append(Text("To go on and confirm the best:", "note", again(story)))
    return texts


def on_test(table: Retrained) -> str:
    """The verdict of the retraining, with its score."""
    won = table.winner
    score = won.metrics.get(table.metric)
    said = next(iter(table.claims), sentence(won.recipe, won.difference, table.metric))
    if score is None:
        return f"no run of {won.recipe} gave a score. {said}"
    shown = numbers.mean_and_sd(score.mean, score.sd, table.metric, table.images)
    seeds = f"{won.n} seed{'' if won.n == 1 else 's'}"
    return f"{won.recipe} scores {shown} ({seeds}), trained on everything but test. {said}"


def _behind(story: Story) -> Iterator[str]:
    won = story.winner
    if won is None:
        return
    if not won.confirmed:
        yield (
            "The best of many noisy values is too good to be true: expect less on new images, and "
            "wait for the confirmation with fresh seeds."
        )
        return
    of = f"{won.score.images:,} images" if won.score.images else "images"
    text = (
        f"{won.label} scores {numbers.score(won.score)} on select, {of} that the search never "
        "used, each seed a training of its own."
    )
    if won.search_value is not None:
        value = metric(won.search_value, story.objective, story.images.get("val"))
        text += f" In the search, where it was picked as the best of many, it had {value} on val."
    yield text
    if won.family in story.controls and won.family != BASELINE:
        yield f"{won.family} is a control, not self-distillation. {_best_other(story)}".strip()


def _best_other(story: Story) -> str:
    """What was confirmed of the best recipe that is no control."""
    for one in story.compared:
        if one.finalist.family not in story.controls:
            said = sentence(one.finalist.label, one.difference, story.objective)
            return f"Of the confirmed recipes that are: {said}"
    return "No recipe that is was among the confirmed ones."


def status(stories: Sequence[Story], now: datetime.datetime) -> str:
    """When the report was made and where the studies stood."""
    moment = f"{now.day} {now:%B %Y, %H:%M}"
    return f"As of {moment}: {'; '.join(f'study {one.name}, {_done(one)}' for one in stories)}."


def _done(story: Story) -> str:
    counts, planned = story.counts, story.definition.trials
    done = f"{counts.counted} of {planned} trials"
    if counts.running:
        left = f"{counts.running} running"
        if driver_anywhere(story.folder.lock_path, story.folder.url) is None:
            left += " or left behind by a search that was stopped"
        done += f", {left}"
    elif counts.counted < planned:
        done += ", none running"
    if counts.waiting:
        done += f", {counts.waiting} waiting"
    return done


def tiles(story: Story, table: Retrained | None) -> list[Tile]:
    """The few numbers that a reader looks for first."""
    made = []
    if story.winner is not None:
        made.append(_winner_tile(story.winner))
        made.append(_score_tile(story.winner))
    if story.compared and story.compared[0].difference is not None:
        apart = against(story.compared[0].difference, story.objective)
        mean, _, interval = apart.partition(" (")
        note = f"95 % interval {interval.rstrip(')')}" if interval else "no interval"
        made.append(Tile("to cross-entropy, on select", f"{mean} {unit(story.objective)}", note))
    if table is not None and (score := table.winner.metrics.get(table.metric)) is not None:
        shown = numbers.mean_and_sd(score.mean, score.sd, table.metric, table.images)
        made.append(Tile("on test, retrained", shown, f"{table.winner.n} seeds"))
    made.append(_trials_tile(story))
    if story.use.seconds:
        share = "" if story.use.share is None else f"slots busy {percent(story.use.share)}"
        made.append(Tile(taken(story), duration(story.use.seconds), share))
    return made


def again(story: Story) -> str:
    """The command that began the study, and that goes on with it; without passwords."""
    words = [address.shown_word(str(word)) for word in story.environment.get("command", [])]
    if words in ([], [FROM_PYTHON]):
        return f"autosd search {story.handle}"
    return shlex.join([PurePath(words[0]).name, *words[1:]])


def taken(story: Story) -> str:
    """Of what the time is that `Story.use` has."""
    return "time of the search" + (" and confirmation" if story.finalists else "")


def unit(objective: str) -> str:
    """Of a difference."""
    return "nats" if objective == "nll" else "points"


def short_data(name: str) -> str:
    """A data set as one says it: `fashion_mnist` of `npz:../data/fashion_mnist.npz`."""
    kind, colon, path = name.partition(":")
    if not colon or kind not in ("npz", "folder"):
        return name
    said = Path(path).stem if kind == "npz" else Path(path).name
    return (said or name)[:LONGEST_NAME]


def _winner_tile(won: Winner) -> Tile:
    strategies = ", ".join(won.strategies)
    return Tile("winner" if won.confirmed else "best so far", won.label, strategies)


def _score_tile(won: Winner) -> Tile:
    score = won.score
    if not won.confirmed:
        value = metric(score.value, score.objective, score.images)
        return Tile("in the search, on val", value, "one run, not confirmed")
    shown = numbers.mean_and_sd(score.value, score.sd, score.objective, score.images)
    return Tile("confirmed, on select", shown, f"mean ± sd of {score.n} seeds")


def _trials_tile(story: Story) -> Tile:
    counts = story.counts
    note = f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"
    return Tile("trials", f"{counts.counted} of {story.definition.trials}", note)
