"""The plain classification sets of torchvision: names, official parts, how each is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Arguments = Mapping[str, Any]
Labelled = tuple[Path, int]
DIGITS = tuple("0123456789")


def as_path(path: Any) -> Any:
    """A "loader" that decodes nothing: a torchvision set then yields paths with labels."""
    return path


def _by_loader(dataset: Any) -> list[Labelled]:
    return [(Path(path), int(label)) for path, label in (dataset[k] for k in range(len(dataset)))]


def _pets(dataset: Any) -> list[Labelled]:
    return [(Path(p), int(k)) for p, k in zip(dataset._images, dataset._labels, strict=True)]


def _gtsrb(dataset: Any) -> list[Labelled]:
    return [(Path(path), int(label)) for path, label in dataset._samples]


def _caltech101(dataset: Any) -> list[Labelled]:
    folder = Path(dataset.root) / "101_ObjectCategories"
    return [
        (folder / dataset.categories[label] / f"image_{number:04d}.jpg", int(label))
        for label, number in zip(dataset.y, dataset.index, strict=True)
    ]


def _caltech256(dataset: Any) -> list[Labelled]:
    folder = Path(dataset.root) / "256_ObjectCategories"
    return [
        (folder / dataset.categories[label] / f"{label + 1:03d}_{number:04d}.jpg", int(label))
        for label, number in zip(dataset.y, dataset.index, strict=True)
    ]


@dataclass(frozen=True)
class Entry:
    """One set.

    Attributes:
        cls: class in `torchvision.datasets`.
        expects: what stands below the root when it was downloaded by other means.
        parts: arguments of the class for each official part.
        crops, flips: default augmentation.
        files: paths and labels of a part; None for sets that torchvision holds as arrays.
        test_count: images of the official test part of arrays, which is not opened to count.
        class_names: where torchvision has none.
    """

    cls: str
    expects: str
    parts: Mapping[str, Arguments]
    crops: bool = True
    flips: bool = True
    files: Callable[[Any], list[Labelled]] | None = None
    test_count: int = 0
    class_names: tuple[str, ...] = ()


def _splits(train: str = "train", val: str = "", test: str = "test") -> dict[str, Arguments]:
    names = {"train": train, "val": val, "test": test}
    return {part: {"split": name} for part, name in names.items() if name}


def _flags(**more: Any) -> dict[str, Arguments]:
    return {"train": {"train": True, **more}, "test": {"train": False, **more}}


def _cifar(cls: str, archive: str, folder: str) -> Entry:
    return Entry(cls, f"{archive} (or {folder}/)", _flags(), test_count=10_000)


def _grey(cls: str, expects: str, parts: Mapping[str, Arguments], test_count: int) -> Entry:
    names = () if "/raw/" in expects else DIGITS
    return Entry(cls, expects, parts, False, False, None, test_count, names)


def _idx(cls: str) -> Entry:
    files = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    return _grey(cls, f"{cls}/raw/ with {files}t10k-labels-idx1-ubyte", _flags(), 10_000)


def _pictures(
    cls: str, expects: str, parts: Mapping[str, Arguments], crops: bool = True, flips: bool = True
) -> Entry:
    with_paths = {part: {**arguments, "loader": as_path} for part, arguments in parts.items()}
    return Entry(cls, expects, with_paths, crops, flips, _by_loader)


CATALOGUE: Mapping[str, Entry] = {
    "cifar10": _cifar("CIFAR10", "cifar-10-python.tar.gz", "cifar-10-batches-py"),
    "cifar100": _cifar("CIFAR100", "cifar-100-python.tar.gz", "cifar-100-python"),
    "mnist": _idx("MNIST"),
    "fashion_mnist": _idx("FashionMNIST"),
    "kmnist": _idx("KMNIST"),
    "emnist": _grey(
        "EMNIST",
        "EMNIST/raw/emnist-balanced-{train,test}-{images-idx3,labels-idx1}-ubyte",
        _flags(split="balanced"),
        18_800,
    ),
    "qmnist": _grey(
        "QMNIST",
        "QMNIST/raw/qmnist-{train,test}-{images-idx3-ubyte,labels-idx2-int}",
        _flags(),
        60_000,
    ),
    "usps": _grey("USPS", "usps.bz2 and usps.t.bz2", _flags(), 2_007),
    "semeion": _grey("SEMEION", "semeion.data", {"train": {}}, 0),
    "svhn": Entry(
        "SVHN",
        "train_32x32.mat and test_32x32.mat",
        _splits(),
        flips=False,
        test_count=26_032,
        class_names=DIGITS,
    ),
    "stl10": Entry("STL10", "stl10_binary.tar.gz (or stl10_binary/)", _splits(), test_count=8_000),
    "eurosat": _pictures("EuroSAT", "eurosat/2750/", {"train": {}}),
    "flowers102": _pictures(
        "Flowers102",
        "flowers-102/ with 102flowers.tgz (or jpg/), imagelabels.mat, setid.mat",
        _splits(val="val"),
    ),
    "oxford_pets": Entry(
        "OxfordIIITPet",
        "oxford-iiit-pet/ with images.tar.gz, annotations.tar.gz (or images/, annotations/)",
        _splits(train="trainval"),
        files=_pets,
    ),
    "food101": _pictures("Food101", "food-101.tar.gz (or food-101/)", _splits()),
    "dtd": _pictures("DTD", "dtd/dtd-r1.0.1.tar.gz (or dtd/dtd/)", _splits(val="val")),
    "gtsrb": Entry(
        "GTSRB",
        "gtsrb/ with GTSRB/Training/, GTSRB/Final_Test/Images/, GT-final_test.csv",
        _splits(),
        flips=False,
        files=_gtsrb,
        class_names=tuple(str(sign) for sign in range(43)),
    ),
    "caltech101": Entry(
        "Caltech101", "caltech101/101_ObjectCategories/", {"train": {}}, files=_caltech101
    ),
    "caltech256": Entry(
        "Caltech256", "caltech256/256_ObjectCategories/", {"train": {}}, files=_caltech256
    ),
    "country211": _pictures("Country211", "country211.tgz (or country211/)", _splits(val="valid")),
    "fgvc_aircraft": _pictures(
        "FGVCAircraft",
        "fgvc-aircraft-2013b.tar.gz (or fgvc-aircraft-2013b/)",
        _splits(val="val"),
    ),
    "imagenette": _pictures("Imagenette", "imagenette2.tgz (or imagenette2/)", _splits(test="val")),
    "rendered_sst2": _pictures(
        "RenderedSST2", "rendered-sst2.tgz (or rendered-sst2/)", _splits(val="val"), False, False
    ),
    "stanford_cars": _pictures(
        "StanfordCars",
        "stanford_cars/ with devkit/, cars_train/, cars_test/, cars_test_annos_withlabels.mat",
        _splits(),
    ),
    "sun397": _pictures("SUN397", "SUN397.tar.gz (or SUN397/)", {"train": {}}),
}
