"""A page as a browser meets it: parsed, and where Chromium is installed, opened in it."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=4000",
]


@dataclass
class Seen:
    """What stands in a page.

    Attributes:
        tags: every element with its attributes, in order.
        scripts: content of the scripts that run.
        data: content of the scripts that do not run, by the figure they belong to.
        text: everything that is read, one line per piece.
    """

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The text as one string with plain spaces."""
        return " ".join(" ".join(self.text).replace("\u00a0", " ").split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen, self._inside, self._figure = Seen(), "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.seen.tags.append((tag, attributes))
        if tag == "figure":
            self._figure = attributes["data-figure"] or ""
        if tag == "script":
            self._inside = "data" if attributes.get("type") == "application/json" else "script"
        elif tag == "style":
            self._inside = "style"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""
        if tag == "figure":
            self._figure = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.seen.scripts.append(data)
        elif self._inside == "data":
            self.seen.data[self._figure or "looks"] = json.loads(data)
        elif not self._inside:
            self.seen.text.append(data)


def parsed(html: str) -> Seen:
    """What a browser makes of the text of a page."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    return parser.seen


def opened(path: Path, profile: Path) -> str:
    """The page's document after its scripts ran in Chromium, as HTML."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout
