"""Which images a model is evaluated on, and whether they are those of its own study."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd import stored
from autosd.data.parts import ALL, OpenData, check_part, open_data
from autosd.data.sources.source import Progress
from autosd.errors import AutosdError
from autosd.recipe import DataSpec, parse, set_values
from autosd.results.inspect import data_spec
from autosd.results.model import DESCRIPTION, Model, Origin
from autosd.results.readings import FILE as SPLIT_FILE

SIZE = "data.image_size"
SIZES = range(4, 1025)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The images of an evaluation, none of them read yet.

    Attributes:
        data: opened at the model's image size.
        part: train, val, select, test or all.
        own: whether the model was trained on this data set.
        same_split: whether it was trained with this very split of it.
        origin: where the model comes from.
    """

    data: OpenData
    part: str
    own: bool
    same_split: bool
    origin: Origin

    @property
    def reads_test(self) -> bool:
        """Whether images of the test part of the model's own study are among them."""
        return self.own and self.part in ("test", ALL)

    def warnings(self) -> list[str]:
        """What keeps the scores from being those of new images."""
        if not self.own:
            return []
        if self.part == ALL:
            return ["the model was trained on some of these images: they are all of its data"]
        if not self.same_split:
            return [
                "the model was trained with another split of these data: it may have learnt from "
                "some of these images"
            ]
        if self.part in self.origin.trained_on:
            return ["the model was trained on these images: new ones will fare worse"]
        if self.origin.study is not None and self.part == "val":
            return ["the search chose by val: new images will fare somewhat worse"]
        if self.origin.study is not None and self.part == "select":
            return ["the winner was chosen by select: new images may fare somewhat worse"]
        return []


def choose(
    model: Model,
    origin: Origin,
    part: str,
    *,
    given: str | None,
    sets: Mapping[str, Any],
    root: Path,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Chosen:
    """Open the data of an evaluation at the size of the model's images.

    Args:
        model: takes images of one size.
        origin: of the model.
        part: train, val, select, test or all.
        given: a data set as a recipe names it, or a file or study with one; None for the data
            that the model was trained on.
        sets: other settings, such as `data.split.seed`.
        root: the folder of studies.
        cache: folder of downloads and decoded images, None for the default.
        progress: told `(what, done, all)`.

    Raises:
        AutosdError: no such part or data, or data of other classes.
    """
    check_part(part)
    spec = sized(_spec(model, origin, given, sets, root), model)
    data = _opened(spec, given, cache, progress)
    check_classes(model, data)
    splits_asked = any(key.startswith("data.split") for key in sets)
    own = _is_own(model, origin, data)
    if own and origin.recipe is not None and not splits_asked:
        spec = spec.model_copy(update={"split": origin.recipe.data.split})
        data = OpenData(data.source, spec, data.progress)
    same = own and origin.recipe is not None and _same_split(data, origin.recipe.data)
    return Chosen(data, part, own, same, origin)


def _opened(
    spec: DataSpec, given: str | None, cache: Path | None, progress: Progress | None
) -> OpenData:
    try:
        return open_data(spec, cache=cache, progress=progress)
    except AutosdError as error:
        hint = "; name the data with --data" if given is None else ""
        raise AutosdError(f"{error}{hint}") from None


def check_classes(model: Model, data: OpenData) -> None:
    """Refuse data of other classes than the model's; their order may be another.

    Raises:
        AutosdError: names the classes that only one of them has.
    """
    known, given = model.class_names, data.source.class_names
    single = len(set(known)) == len(known) == len(given)
    if known == given or (single and set(known) == set(given)):
        return
    only_model = [name for name in known if name not in given]
    only_data = [name for name in given if name not in known]
    faults = [
        f"{who} has {_listed(names)}, which {other} lacks"
        for who, names, other in (
            ("the model", only_model, "the data set"),
            ("the data set", only_data, "the model"),
        )
        if names
    ]
    why = "; ".join(faults) or "some names stand for several"
    raise AutosdError(f"{data.source.name}: not the classes of {model.folder}: {why}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _spec(
    model: Model, origin: Origin, given: str | None, sets: Mapping[str, Any], root: Path
) -> DataSpec:
    if SIZE in sets:
        raise AutosdError(f"--set {SIZE}: the size of the images is the model's and cannot be set")
    own = None if origin.recipe is None else origin.recipe.data
    if given is None and own is None:
        raise AutosdError(
            f"--data is missing: neither a recipe nor a study near {model.folder / DESCRIPTION} "
            "says which data it was trained on"
        )
    if own is not None and given in (None, own.name):
        strange = [key for key in sets if not key.startswith("data.")]
        if strange:
            raise AutosdError(
                f"--set {strange[0]}: only settings of the data, as data.split.seed=1"
            )
        values = set_values({"data": own.plain()}, sets)
        return parse(DataSpec, values["data"], "--set data")
    return data_spec(str(given), root, sets)


def sized(spec: DataSpec, model: Model) -> DataSpec:
    """At the side of the model's images; where they are no squares, at their own size."""
    _, height, width = model.image_shape
    side = height if height == width and height in SIZES else None
    return spec.model_copy(update={"image_size": side})


def _is_own(model: Model, origin: Origin, data: OpenData) -> bool:
    """By what identifies the study's data where that is known, else by name."""
    if origin.recipe is None:
        return False
    recorded = _recorded(origin)
    if recorded is None:
        return data.spec.name == origin.recipe.data.name
    _, height, width = model.image_shape
    try:
        split = data.split(origin.recipe.data.split)
    except AutosdError:
        return False
    return data.fingerprint(split, height, width) == recorded


def _same_split(data: OpenData, trained: DataSpec) -> bool:
    return data.split().hash == data.split(trained.split).hash


def _recorded(origin: Origin) -> str | None:
    """The fingerprint of the study's data."""
    if origin.study is None:
        return None
    path = origin.study.path / SPLIT_FILE
    try:
        values = stored.load(path)
    except (OSError, ValueError):
        return None
    found = values.get("fingerprint") if isinstance(values, dict) else None
    return found if isinstance(found, str) else None
