"""What was searched: the data and its parts, the network, the space, the machine."""

from typing import Any

from autosd import stored
from autosd.results.numbers import duration
from autosd.results.report.blocks import Block, Facts, Section, Table, Text, row
from autosd.results.report.opening import short_data, taken
from autosd.results.report.story import Story

ROLES = {
    "train": "gives gradients",
    "val": "guides the search: which trials go on, what is tried next",
    "select": "compares the finalists; the search never used it",
    "test": "read by retrain and evaluate only, each reading on record",
}
OBJECTIVES = {
    "top1": "top-1 accuracy, higher is better",
    "balanced_accuracy": "balanced accuracy (mean over classes), higher is better",
    "nll": "negative log-likelihood, lower is better",
}
SHOWN_CLASSES = 20


def section(story: Story) -> Section:
    """The section of the page."""
    blocks: list[Block] = [Text(_asked(story)), *_parts(story), Facts(_facts(story))]
    return Section("searched", "What was searched", blocks)


def _asked(story: Story) -> str:
    recipe, families = story.definition.recipe, len(story.space.families)
    return (
        f"Which way of training {recipe.model.name} on {short_data(recipe.data.name)} scores best? "
        f"The study tried {families} famil{'y' if families == 1 else 'ies'} of recipes in "
        f"{story.counts.counted} trials of at most {recipe.epochs} epochs. A family is a strategy "
        "(or a composition of several) with the knobs that were searched; plain cross-entropy is "
        "the bar that each has to clear, and controls are the cheap ways of clearing it."
    )


def _parts(story: Story) -> list[Block]:
    if not story.images:
        return [Text("How many images each part of the data has is not known.", "warn")]
    lines = [row(part, f"{count:,}", ROLES.get(part, "")) for part, count in story.images.items()]
    return [Table(["part of the data", "images", "what it is for"], lines, ["what it is for"])]


def _facts(story: Story) -> list[tuple[str, str]]:
    definition, recipe = story.definition, story.definition.recipe
    split = recipe.data.split
    facts = [
        ("data", recipe.data.name),
        ("score", OBJECTIVES[story.objective]),
        ("classes", _classes(story)),
        ("division of the data", f"one for all trials, seed {split.seed}"),
        ("network", recipe.model.name + (", pretrained" if recipe.model.pretrained else "")),
        ("training", _training(story)),
        ("space", _space(story)),
        ("trials", f"{definition.trials}, proposed by the sampler {definition.sampler}, "
         f"{_stopped(definition.pruner)}"),
        ("confirmation", f"the best {definition.finalists.count} with {definition.finalists.seeds} "
         "fresh seeds each, beside their published defaults and cross-entropy"),
        ("machine", _machine(story)),
        (taken(story), duration(story.use.seconds) if story.use.seconds else ""),
    ]  # fmt: skip
    return [(name, value) for name, value in facts if value]


def _stopped(pruner: str) -> str:
    return "none stopped early" if pruner == "none" else f"stopped early by the pruner {pruner}"


def _training(story: Story) -> str:
    recipe = story.definition.recipe
    optimizer = recipe.optimizer
    budget = "" if recipe.budget == "epochs" else ", image passes held equal"
    return (
        f"{recipe.epochs} epochs{budget}, batches of {recipe.batch_size}, {optimizer.name} with "
        f"learning rate {optimizer.lr:g} and weight decay {optimizer.weight_decay:g} unless "
        f"searched, {recipe.schedule.name} schedule"
    )


def _space(story: Story) -> str:
    size = story.space.describe()
    shared = ", ".join(size["training"])
    return (
        f"{story.definition.space}: {', '.join(story.space.families)}"
        + (f"; searched in all of them: {shared}" if shared else "")
        + f"; {size['parameters']} parameters in all"
    )


def _machine(story: Story) -> str:
    machine = story.environment.get("machine", {})
    if not machine:
        return "not known"
    facts = [
        str(machine.get("processor", "")),
        f"{machine['cores']} cores" if machine.get("cores") else "",
        f"{machine['memory_gib']} GiB" if machine.get("memory_gib") else "",
        str(machine.get("system", "")),
    ]
    return ", ".join(fact for fact in facts if fact)


def _classes(story: Story) -> str:
    names = class_names(story)
    if not names:
        return ""
    more = f" and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
    return f"{len(names)}: {', '.join(names[:SHOWN_CLASSES])}{more}"


def class_names(story: Story) -> list[str]:
    """As the kept student has them; none where no student was kept."""
    try:
        values: dict[str, Any] = stored.load(story.folder.best / "model.json")
        return [str(name) for name in values["class_names"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
