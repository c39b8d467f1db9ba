"""The spaces and studies that come with autosd, in a wheel or a checkout."""

from importlib import resources
from pathlib import Path

from autosd.errors import AutosdError
from autosd.recipe import unknown


def shipped(kind: str) -> Path:
    """The folder of shipped files of a kind, `search_spaces` or `studies`."""
    inside = Path(str(resources.files("autosd"))) / kind
    return inside if inside.is_dir() else Path(__file__).resolve().parent.parent / kind


def names(kind: str) -> list[str]:
    """Names of the shipped files of a kind."""
    return sorted(path.stem for path in shipped(kind).glob("*.yaml"))


def find(kind: str, name: str) -> Path:
    """The file for a name or a path; a path ends in `.yaml` or has a separator.

    Raises:
        AutosdError: neither a shipped name nor an existing file.
    """
    what = {"search_spaces": "space", "studies": "study"}[kind]
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        inside = shipped(kind) / path.name
        if path.is_file():
            return path
        if path.parent.name == kind and inside.is_file():
            return inside
        raise AutosdError(f"{name}: no such {what} file")
    path = shipped(kind) / f"{name}.yaml"
    if not path.is_file():
        raise AutosdError(unknown(what, name, names(kind)))
    return path
