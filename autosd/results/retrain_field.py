"""Which recipes `autosd retrain` trains: those that the confirmation put first, and references.

References are the published defaults of their families, the best control that the study has,
cross-entropy, and cross-entropy tuned: with the settings of training that the winner drew, to
which it may owe its gain. Recipes that train the same are one entry with several roles.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autosd.recipe import Recipe, set_values
from autosd.results.calibration import identity
from autosd.results.catalog import families
from autosd.results.leaderboard import BASELINE, best_trial
from autosd.results.retrained import ROLES
from autosd.results.statistics import Summary
from autosd.search.changed import flat
from autosd.search.finalists import Candidate, choose, default, read_finalists
from autosd.search.lists import read_recipe
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder

CONTROLS = "controls"
TUNED = "cross_entropy-tuned"


@dataclass(frozen=True)
class Entry:
    """A recipe of the table.

    Attributes:
        label: starts the names of its folders.
        roles: of `ROLES`, in that order.
        family: of the space.
        recipe: with the study's seed and epochs.
        search: value in the search, on val; None where it had no trial.
        confirmed: mean and spread of the objective on select, None where it was not confirmed.
    """

    label: str
    roles: tuple[str, ...]
    family: str
    recipe: Recipe
    search: float | None = None
    confirmed: Summary | None = None


def controls(folder: StudyFolder) -> list[str]:
    """Families of the study that are controls: those of the space `controls`, plain training out.

    A method that does not beat the best of them owes its gain to what is cheaper and well known.
    """
    known = set(families(CONTROLS)) - {BASELINE}
    return [family for family in folder.space.families if family in known]


def field_of(folder: StudyFolder, records: Sequence[TrialRecord], top: int) -> list[Entry]:
    """The entries of the table: the winner first, cross-entropy last unless it won.

    Args:
        folder: of the study.
        records: its trials, at least one of them complete.
        top: confirmed recipes to be trained, by their mean on select; where nothing is confirmed,
            trials by their value in the search.
    """
    base = folder.definition.recipe.with_seed(folder.definition.seed)
    found = _confirmed(folder)
    leading = (found or _searched(folder, records, base, top))[:top]
    defaults = [
        _default(folder, base, family, "default")
        for family in dict.fromkeys(entry.family for entry in leading)
        if family != BASELINE
    ]
    baseline = _default(folder, base, BASELINE, "baseline")
    control = _control(folder, records, base, found)
    first = replace(leading[0], roles=("winner",))
    tuned = _tuned(folder, baseline, first)
    merged = _merged([first, *leading[1:], *defaults, *control, *tuned, baseline])
    values = _values(folder, records, base)
    scores = {identity(entry.recipe): entry.confirmed for entry in found}
    known = [_with_scores(entry, values, scores) for entry in merged]
    return sorted(known, key=lambda entry: entry is not known[0] and "baseline" in entry.roles)


def lasting(entries: Sequence[Entry], epochs: int | None) -> list[Entry]:
    """The entries with other epochs, under labels of their own.

    They train otherwise than in the search, so that its scores and the confirmed ones are not
    theirs.
    """
    return [
        entry
        if epochs in (None, entry.recipe.epochs)
        else replace(
            entry,
            label=f"{entry.label}-e{epochs}",
            recipe=entry.recipe.model_copy(update={"epochs": epochs}),
            search=None,
            confirmed=None,
        )
        for entry in entries
    ]


def _confirmed(folder: StudyFolder) -> list[Entry]:
    """The finalists, best first."""
    return [
        Entry(
            label=one.label,
            roles=("finalist",),
            family=one.family,
            recipe=read_recipe(one.folder).with_seed(folder.definition.seed),
            search=one.search_value,
            confirmed=Summary(one.mean, one.sd, one.n),
        )
        for one in read_finalists(folder.finalists, folder.minimise)
    ]


def _searched(
    folder: StudyFolder, records: Sequence[TrialRecord], base: Recipe, top: int
) -> list[Entry]:
    """Distinct recipes of the search, best first, at most two of a family."""
    found = choose(records, folder.space, base, top, folder.minimise)
    sign = 1 if folder.minimise else -1
    ranked = sorted(
        (one for one in found if one.search_value is not None),
        key=lambda one: (sign * (one.search_value or 0.0), one.trial or 0),
    )
    return [_entry(one, "finalist") for one in ranked]


def _entry(one: Candidate, role: str) -> Entry:
    return Entry(one.label, (role,), one.family, one.recipe, one.search_value)


def _default(folder: StudyFolder, base: Recipe, family: str, role: str) -> Entry:
    return _entry(default(folder.space, base, family), role)


def _control(
    folder: StudyFolder, records: Sequence[TrialRecord], base: Recipe, found: Sequence[Entry]
) -> Iterator[Entry]:
    """The best control: by its confirmed score, else by its value in the search, else a default."""
    known = controls(folder)
    confirmed = [entry for entry in found if entry.family in known]
    trials = [record for record in records if record.family in known]
    best = best_trial(trials, minimise=folder.minimise)
    if confirmed:
        yield replace(confirmed[0], roles=("control",))
    elif best is not None:
        recipe = folder.space.recipe(best.params, base)
        label = f"{best.family}-{best.lineage:04d}"
        plain = _default(folder, base, best.family, "control")
        same = identity(plain.recipe) == identity(recipe)
        yield plain if same else Entry(label, ("control",), best.family, recipe, best.value)
    elif known:
        yield _default(folder, base, known[0], "control")


def _tuned(folder: StudyFolder, baseline: Entry, winner: Entry) -> Iterator[Entry]:
    """Cross-entropy with what the space draws for every family, where the winner drew another."""
    has = flat(winner.recipe.mapping())
    drawn = {place: has[place] for knob in folder.space.training for place in knob.sets}
    recipe = Recipe.parse(set_values(baseline.recipe.mapping(), drawn), TUNED)
    if identity(recipe) != identity(baseline.recipe):
        yield Entry(TUNED, ("tuned",), BASELINE, recipe)


def _merged(entries: Sequence[Entry]) -> list[Entry]:
    """One entry for all that train the same, under the most telling of their labels."""
    found: dict[str, Entry] = {}
    for entry in entries:
        known = found.get(identity(entry.recipe), entry)
        roles = {*known.roles, *entry.roles}
        plain = "default" in entry.roles or "baseline" in entry.roles
        found[identity(entry.recipe)] = replace(
            known,
            label=entry.label if plain else known.label,
            roles=tuple(role for role in ROLES if role in roles),
        )
    return list(found.values())


def _values(
    folder: StudyFolder, records: Sequence[TrialRecord], base: Recipe
) -> dict[str, float | None]:
    """Value in the search by identity of the recipe; the first trial of equal ones."""
    values: dict[str, float | None] = {}
    for record in records:
        if record.state == "complete" and record.value is not None:
            recipe = folder.space.recipe(record.params, base)
            values.setdefault(identity(recipe), record.value)
    return values


def _with_scores(
    entry: Entry,
    values: Mapping[str, float | None],
    scores: Mapping[str, Summary | None],
) -> Entry:
    """An entry with what search and confirmation know of its recipe, whatever its role."""
    key = identity(entry.recipe)
    search = values.get(key) if entry.search is None else entry.search
    return replace(entry, search=search, confirmed=scores.get(key))
