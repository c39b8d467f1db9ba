"""Checks of labels that all sources share."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autosd.data.dataset import Integers
from autosd.errors import AutosdError


def as_labels(values: npt.NDArray[np.generic], where: str) -> Integers:
    """Labels `[N]` as int64 of integers `[N]` or `[N, 1]`.

    Raises:
        AutosdError: another shape or type, or a negative label; starts with `where`.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise AutosdError(
            f"{where}: one label per image is needed, [N] or [N, 1], not {list(values.shape)}"
        )
    if values.dtype.kind not in "iu":
        raise AutosdError(f"{where}: labels must be integers, not {values.dtype}")
    if values.size == 0:
        raise AutosdError(f"{where}: no labels")
    if int(values.min()) < 0 or int(values.max()) >= 2**31:
        bad = values.min() if int(values.min()) < 0 else values.max()
        raise AutosdError(f"{where}: label {bad} is out of range; classes count from 0")
    return values.astype(np.int64)


def numbered(labels: Integers, where: str) -> tuple[str, ...]:
    """Class names "0", "1", ... for labels that have no names.

    Raises:
        AutosdError: labels that are not 0 to K - 1 without gaps.
    """
    present = np.unique(labels)
    if len(present) != int(present[-1]) + 1:
        gap = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise AutosdError(
            f"{where}: no image has label {gap}, yet labels go up to {present[-1]}; "
            "classes must be 0 to K - 1 without gaps"
        )
    return tuple(str(label) for label in present)


def check_classes(labels: Integers, class_names: Sequence[str], where: str) -> None:
    """At least two classes, each with a training image, and no label beyond them.

    Raises:
        AutosdError: says which class or label it is.
    """
    if len(class_names) < 2:
        raise AutosdError(f"{where}: only one class ('{class_names[0]}'); at least two are needed")
    check_range(labels, class_names, where)
    counts = np.bincount(labels, minlength=len(class_names))
    empty = [f"'{name}'" for name, count in zip(class_names, counts, strict=True) if count == 0]
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise AutosdError(f"{where}: no image of class {', '.join(empty[:5])}{more}")


def check_range(labels: Integers, class_names: Sequence[str], where: str) -> None:
    """No label beyond the known classes."""
    if labels.size and int(labels.max()) >= len(class_names):
        raise AutosdError(
            f"{where}: label {labels.max()} is out of range; there are {len(class_names)} "
            f"classes, 0 to {len(class_names) - 1}"
        )
