"""What a study was made with, against what is here now."""

from typing import Any

from autosd import stored
from autosd.search import environment
from autosd.search.study import StudyFolder


def updated(folder: StudyFolder) -> bool:
    """Whether autosd itself is another one than when the study began."""
    then, now = _then(folder), environment.describe()
    own = then.get("versions", {}).get("autosd"), then.get("git")
    return own != (now["versions"].get("autosd"), now["git"])


def changed_since(folder: StudyFolder) -> str:
    """What may make a training differ: versions, processor, code; in words."""
    then, now = _then(folder), environment.describe()
    if not then:
        return "environment.json cannot be read, so what has changed since is not known"
    changed = [
        f"{name} {version} there, {now['versions'].get(name)} here"
        for name, version in then.get("versions", {}).items()
        if now["versions"].get(name) != version
    ]
    processor = then.get("machine", {}).get("processor")
    if processor != now["machine"]["processor"]:
        changed.append(f"processor {processor} there, {now['machine']['processor']} here")
    if then.get("git") != now["git"]:
        changed.append(f"autosd's commit {then.get('git')} there, {now['git']} here")
    if not changed:
        return "nothing is known to have changed since: report this"
    return f"changed since: {'; '.join(changed)}"


def _then(folder: StudyFolder) -> dict[str, Any]:
    try:
        return stored.mapping(folder.path / "environment.json")
    except (OSError, ValueError):
        return {}
