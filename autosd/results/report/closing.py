"""The end of a report: failures, use of the machine, limits, and how to do it again."""

from collections import Counter
from collections.abc import Iterator

from autosd import stored, yamlfile
from autosd.results.numbers import duration, percent
from autosd.results.report.blocks import Block, Code, Facts, Items, Row, Section, Table, Text, row
from autosd.results.report.opening import again, short_data, taken
from autosd.results.report.story import Story
from autosd.search import address, code
from autosd.search.forked import record, told
from autosd.search.records import TrialRecord

BAD = ("failed", "diverged")
OUR_READINGS = ("rskd", "toast", "patch_swap")
"""Strategies whose papers could not be read in full."""
MOST_FAULTS = 40
LONGEST_REASON = 400
FINALIST_SEED, RETRAIN_SEED = 1000, 2000


def missing(story: Story) -> Section:
    """What the folder could not tell."""
    return Section(
        "missing",
        "What is missing",
        [Text("What the study's folder could not tell, and why:"), Items(story.missing)],
    )


def failures(story: Story) -> Section:
    """Trials without a result, with their reasons, and why others were stopped."""
    bad = [one for one in story.attempts if one.state in BAD]
    blocks: list[Block] = [Text(_ends(story))]
    if bad:
        lines = [_fault(one) for one in bad[:MOST_FAULTS]]
        blocks.append(Table(["trial", "family", "end", "reason"], lines, ["family", "reason"]))
    if len(bad) > MOST_FAULTS:
        blocks.append(Text(f"And {len(bad) - MOST_FAULTS} more, in study.db.", "note"))
    stops = Counter(_stopper(one) for one in story.trials if one.state == "pruned")
    if stops:
        rows = [row(reason, str(count)) for reason, count in stops.most_common()]
        blocks.append(Text("Trials that were stopped early, by what stopped them:"))
        blocks.append(Table(["stopped by", "trials"], rows))
    return Section("failures", "Failures and early stops", blocks)


def _ends(story: Story) -> str:
    counts = story.counts
    failed = sum(1 for one in story.trials if one.state == "failed")
    text = (
        "No trial failed or diverged."
        if not failed and not counts.diverged
        else f"{failed} failed, {counts.diverged} diverged (a loss that is not a number)."
    )
    again = counts.superseded
    if again:
        times = "once" if again == 1 else f"{again} times"
        text += (
            f" {times.capitalize()} a trial was interrupted or failed and a later attempt took its "
            "place; it counts once."
        )
    if counts.duplicates:
        text += f" {counts.duplicates} proposals repeated an earlier trial and were not trained."
    return text


def _fault(one: TrialRecord) -> Row:
    replaced = ", tried again" if one.superseded else ""
    return row(str(one.number), one.family, one.state + replaced, one.why[:LONGEST_REASON] or "-")


def _stopper(one: TrialRecord) -> str:
    """`family` of `pruned by family at epoch 4: ...`."""
    return one.why.partition(" at ")[0].removeprefix("pruned by ") or "reason not kept"


def utilisation(story: Story) -> Section:
    """How well the machine was used."""
    use, title = story.use, "Use of the machine"
    if not use.seconds:
        return Section("use", title, [Text("How well the slots were used is not known.", "note")])
    trained = sum(one.seconds for one in story.trials)
    facts = [
        (taken(story), duration(use.seconds)),
        ("slot time", duration(use.slots)),
        ("of it training", f"{percent(use.share)} ({duration(use.busy)})"),
        ("a trial", f"{duration(trained / len(story.trials))} on average" if story.trials else "-"),
    ]
    rest = "The rest went to proposing trials, evaluating, saving, and waiting for the last trial."
    return Section("use", title, [Facts(facts), Text(rest, "note")])


def limits(story: Story) -> Section:
    """What the result does not say."""
    return Section("limits", "Limits", [Items(list(_limits(story)))])


def _limits(story: Story) -> Iterator[str]:
    recipe = story.definition.recipe
    yield (
        f"It holds for {recipe.model.name} on {short_data(recipe.data.name)} with {recipe.epochs} "
        "epochs. Other networks, data and lengths of training may order the strategies differently."
    )
    yield (
        "The data were divided once. Seeds vary initial weights and the order of images, not the "
        "division; on small data the division matters as much."
    )
    if recipe.budget == "epochs":
        yield (
            "Recipes are compared at equal epochs. Some cost a multiple of plain training per "
            "epoch; the figure of cost shows which."
        )
    yield ("No difference shown does not mean equal: it means that this many seeds could not tell.")
    yield (
        "Knobs were tried where the sampler looked, not on a grid; importance and slices describe "
        "these trials and are no experiment."
    )
    ours = [name for name in OUR_READINGS if any(name in one.strategies for one in story.trials)]
    if ours:
        yield (
            f"Our reading of papers whose text could not be read in full: {', '.join(ours)}. What "
            "they score says something about our reading, not about the authors' code."
        )


def reproduce(story: Story) -> Section:
    """Commands, versions, seeds, fingerprints."""
    blocks: list[Block] = [
        Code("\n".join(_commands(story)), "The commands:"),
        Facts([(name, value) for name, value in _facts(story) if value]),
        Code(yamlfile.dumps(story.definition.mapping()), "The study (study.yaml):"),
    ]
    if story.winner is not None:
        said = f"The best recipe ({story.winner.label}), as autosd train takes it:"
        blocks.append(Code(yamlfile.dumps(story.winner.recipe.mapping()), said))
    return Section("reproduce", "How to do it again", blocks)


def _commands(story: Story) -> Iterator[str]:
    yield again(story)
    yield f"autosd status {story.handle}"
    yield f"autosd retrain {story.handle} --seeds 5"
    yield f"autosd best {story.handle} --yaml best.yaml && autosd train best.yaml"


def _facts(story: Story) -> Iterator[tuple[str, str]]:
    definition, space, environment = story.definition, story.space, story.environment
    seed = definition.seed
    last = definition.finalists.seeds - 1
    yield "begun", str(environment.get("created", ""))
    yield "seed of the sampler and of every trial", str(seed)
    yield "seeds of the confirmation", f"{seed + FINALIST_SEED} to {seed + FINALIST_SEED + last}"
    yield "first seed of retraining", str(seed + RETRAIN_SEED)
    yield "fingerprint of data and division", fingerprint(story)
    yield "fingerprint of the space", space.fingerprint
    yield "fingerprint of the base recipe", definition.recipe.fingerprint()
    if story.winner is not None:
        yield "fingerprint of the best recipe", story.winner.recipe.fingerprint()
    yield "storage", _storage(story)
    yield "python", str(environment.get("python", ""))
    versions = environment.get("versions", {})
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield "commit of autosd", str(environment.get("git") or "")
    taken_over = record(story.folder.path)
    yield "trials of another study", told(taken_over) if taken_over else ""
    yield "other code accepted", "; ".join(code.accepted(story.folder.path))


def _storage(story: Story) -> str:
    url = story.folder.url
    return "study.db in the folder" if address.sqlite_path(url) else address.shown(url)


def fingerprint(story: Story) -> str:
    """Of the data and their division, as the study recorded it; empty where it did not."""
    path = story.folder.path / "split.json"
    try:
        return str(stored.load(path)["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
