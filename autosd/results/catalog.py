"""What can be chosen, as plain values: strategies with their knobs, models, data, spaces, ..."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from autosd import resources, yamlfile

Entries = list[dict[str, Any]]


def strategies() -> Entries:
    """Every strategy: name, slots, reference, cost of its defaults, knobs."""
    from autosd.strategies.listing import listing

    return listing()


def models() -> Entries:
    """Families of our own; timm's names are accepted beside them."""
    from autosd.models.build import model_names

    own = [{"name": name, "source": "autosd"} for name in model_names()]
    return [*own, {"name": "any timm backbone, such as mobilenetv3_small_050", "source": "timm"}]


def data() -> Entries:
    """Data sets by name, and the two kinds of paths."""
    from autosd.data.loading import data_names

    named = [{"name": name} for name in data_names()]
    return [*named, {"name": "npz:PATH"}, {"name": "folder:PATH"}]


def spaces() -> Entries:
    """Shipped search spaces with their families."""
    return [
        {"name": name, "families": ", ".join(families(name))}
        for name in resources.names("search_spaces")
    ]


def families(name: str) -> list[str]:
    values = yamlfile.read(resources.find("search_spaces", name))
    return list((values or {}).get("strategies") or {})


def studies(directory: Path) -> Entries:
    """Shipped definitions, and the studies under `directory`."""
    shipped = [
        {"name": name, "what": "definition", "where": f"autosd search {name}"}
        for name in resources.names("studies")
    ]
    started = [
        {"name": path.parent.name, "what": "study", "where": str(path.parent)}
        for path in sorted(directory.glob("*/study.yaml"))
    ]
    return shipped + started


def samplers() -> Entries:
    """Samplers by name, with what each cannot do."""
    from autosd.search.samplers import SAMPLERS

    return [{"name": name, "limits": kind.limits} for name, kind in SAMPLERS.items()]


def pruners() -> Entries:
    """Pruners by name."""
    from autosd.search.pruners import PRUNERS

    return [{"name": name} for name in PRUNERS]


LISTS: dict[str, Callable[[], Entries]] = {
    "strategies": strategies,
    "models": models,
    "data": data,
    "spaces": spaces,
    "samplers": samplers,
    "pruners": pruners,
}
