"""A space on a student: what cannot be trained, and what a user should know before the search."""

import math
from collections.abc import Iterator

from autosd.errors import AutosdError
from autosd.models.student import Student
from autosd.recipe import Recipe
from autosd.search.knobs import Family
from autosd.search.space import Space
from autosd.strategies.check import check_on_student, check_recipe, discouraged

FEWEST_STEPS = 10
"""Of an epoch; with fewer a training is a short one, however many epochs it has."""
SMALLEST_BATCH = 8
"""Of what is advised; the statistics of fewer images serve no normalisation."""


def few_steps(recipe: Recipe, images: int) -> tuple[str, ...]:
    """What to tell who trains on few images in large batches; nothing where steps suffice.

    Args:
        recipe: of the study.
        images: of the training part.
    """
    steps = math.ceil(images / recipe.batch_size)
    smaller = 2 ** int(math.log2(max(images / FEWEST_STEPS, 1)))
    if steps >= FEWEST_STEPS or smaller < SMALLEST_BATCH:
        return ()
    return (
        f"{images:,} training images in batches of {recipe.batch_size} are {steps} "
        f"step{'s' * (steps != 1)} an epoch; smaller batches train further in the same epochs: "
        f"--set batch_size={smaller}",
    )


def check_space(space: Space, base: Recipe, student: Student, images: int = 0) -> tuple[str, ...]:
    """Check that every strategy that a trial can have works on the student.

    Args:
        space: all of it is checked.
        base: recipe of the study.
        student: that it trains.
        images: of the largest training part, whose memories have to fit.

    Returns:
        Advice, each line once however many trials it concerns.

    Raises:
        AutosdError: all reasons why some cannot.
    """
    faults: list[str] = []
    advice: list[str] = []
    for family in space.members:
        for recipe in defaults(space, family, base):
            try:
                advice += check_recipe(recipe, f"family {family.name}")
                advice += check_on_student(recipe, student, images)
            except AutosdError as error:
                faults.append(str(error))
        for names in family.combinations():
            advice += discouraged(names)
    if faults:
        raise AutosdError("\n".join(dict.fromkeys(faults)))
    return tuple(dict.fromkeys(advice))


def defaults(space: Space, family: Family, base: Recipe) -> Iterator[Recipe]:
    """A family's default recipe, and those in which one choice has another member."""
    yield space.recipe(space.default_params(family.name), base)
    for slot in family.slots:
        for member in slot.choices[1:]:
            yield space.recipe(space.default_params(family.name, {slot.name: member}), base)
