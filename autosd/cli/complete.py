"""What the shell offers after a word is begun: names of studies, data, strategies and the like.

Each function gives the names that continue `incomplete`. They run at every press of the Tab key:
none imports torch, and none raises.
"""

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

import typer

REFERENCE = re.compile(r"^    reference(: [^=\n]+)? = ", re.MULTILINE)


def study(ctx: typer.Context, incomplete: str) -> list[str]:
    """Studies under `--dir`."""
    return _from(_started(ctx), incomplete)


def definition(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shipped study definitions, the studies under `--dir`, and study files."""
    from autosd import resources

    return _from([*resources.names("studies"), *_started(ctx)], incomplete) + yaml_file(incomplete)


def data(incomplete: str) -> list[str]:
    """Known data sets and the forms of paths, with the path itself."""
    from autosd.data.loading import data_names

    for form, ending in (("npz:", ".npz"), ("folder:", "/")):
        if incomplete.startswith(form):
            paths = _paths(incomplete.removeprefix(form))
            return [form + path for path in paths if path.endswith((ending, "/"))]
    return _from([*data_names(), "npz:", "folder:"], incomplete)


def data_or_file(incomplete: str) -> list[str]:
    """What `data` gives, and YAML files."""
    return data(incomplete) + yaml_file(incomplete)


def space(incomplete: str) -> list[str]:
    """Shipped search spaces, and YAML files."""
    from autosd import resources

    return _from(resources.names("search_spaces"), incomplete) + yaml_file(incomplete)


def strategies(incomplete: str) -> list[str]:
    """The last strategy of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    given = set(before.split(","))
    names = [name for name in strategy_names() if name not in given]
    return [f"{before}{comma}{name}" for name in _from(names, last)]


def sampler(incomplete: str) -> list[str]:
    """Samplers by name."""
    from autosd.search.samplers import SAMPLERS

    return _from(SAMPLERS, incomplete)


def pruner(incomplete: str) -> list[str]:
    """Pruners by name."""
    from autosd.search.pruners import PRUNERS

    return _from(PRUNERS, incomplete)


def yaml_file(incomplete: str) -> list[str]:
    """YAML files and folders below what was typed."""
    return [path for path in _paths(incomplete) if path.endswith((".yaml", ".yml", "/"))]


def strategy_names() -> list[str]:
    """Names of the files in `strategies` that state a reference, without importing any."""
    package = importlib.util.find_spec("autosd.strategies")
    folders = package.submodule_search_locations if package else None
    files = [file for folder in folders or () for file in Path(folder).glob("*.py")]
    return sorted(file.stem for file in files if REFERENCE.search(file.read_text("utf-8")))


def _started(ctx: typer.Context) -> list[str]:
    """Names of the studies under `--dir`."""
    folder = Path(ctx.params.get("directory") or "runs")
    return sorted(path.parent.name for path in folder.glob("*/study.yaml"))


def _paths(incomplete: str) -> list[str]:
    """Files and folders that continue a path; folders end in a slash."""
    folder, slash, begun = incomplete.rpartition("/")
    try:
        entries = sorted(Path(folder + slash or ".").iterdir())
    except OSError:
        return []
    return [
        f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in entries
        if path.name.startswith(begun) and not path.name.startswith(".")
    ]


def _from(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
