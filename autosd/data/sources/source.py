"""What a kind of data set has to offer."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from autosd.data.dataset import Images, Integers
from autosd.recipe import DataSpec, SplitSpec

Progress = Callable[[str, int, int], None]
OFFICIAL = ("train", "val", "test")


class Source(ABC):
    """A data set before it is split. Making one reads labels, never an image of the test part.

    Rows count the official train images first, then the official val, then the official test.

    Attributes:
        name: for people.
        class_names: one for each of the K classes.
        official: images of each official part, `train` and, where they exist, `val` and `test`.
        labels: int64 `[N]` of the official train and val images.
        identity: says which images these are, on any machine.
        defaults: sizes of the parts where the recipe says nothing.
        crops, flips: whether pad-and-crop and horizontal flips belong to its default
            augmentation: photographs yes; small grey images no, as short runs suffer from it.
    """

    name: str
    class_names: tuple[str, ...]
    official: dict[str, int]
    labels: Integers
    identity: str
    defaults: SplitSpec = SplitSpec()
    crops: bool = False
    flips: bool = False

    @abstractmethod
    def test_labels(self) -> Integers:
        """Labels of the official test part."""

    @abstractmethod
    def read(self, rows: Integers, progress: Progress) -> Images:
        """uint8 `[len(rows), H, W, C]` of ascending rows; no image of another row is decoded."""


class Kind(ABC):
    """A kind of data set: known names, or `PREFIX:PATH`. One file with a subclass adds one."""

    names: ClassVar[tuple[str, ...]] = ()
    prefix: ClassVar[str] = ""

    @abstractmethod
    def check(self, spec: DataSpec) -> None:
        """Raise `AutosdError` for what can be seen in a moment, without reading images."""

    @abstractmethod
    def open(self, spec: DataSpec, cache: Path, progress: Progress) -> Source:
        """The data set; `cache` is a folder for files that are made once."""


def path_of(spec: DataSpec) -> Path:
    """The path behind the prefix; a relative one is below `root`, else the current folder."""
    path = Path(spec.name.partition(":")[2]).expanduser()
    return Path(spec.root).expanduser() / path if spec.root else path
