"""A page as one HTML file: template, plotly's script once, and a policy that lets nothing else in.

The browser is told the hashes of the two scripts that belong here. Whatever a name or an error
text might smuggle in besides would neither run nor reach a network, even if escaping failed.
"""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from autosd.results.report.blocks import Page
from autosd.results.report.look import DARK, LIGHT

TEMPLATE = "template.html.j2"
SCRIPT = "page.js"
TIE = "\u00a0"
JOINT = re.compile(r"(?<=[a-z0-9][_-])(?=[a-z0-9])")
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def html(page: Page) -> str:
    """The file's text; every value of the page is escaped by the template."""
    template = _environment().get_template(TEMPLATE)
    scripts = [plotly(), own()]
    return template.render(
        page=page,
        looks=json.dumps({"light": LIGHT, "dark": DARK}),
        plotly=Markup(scripts[0]),
        own=Markup(scripts[1]),
        policy=policy(scripts),
    )


def inside_script(text: str) -> Markup:
    """JSON that means the same and cannot end a script element or begin anything in it."""
    return Markup("".join(UNSAFE.get(letter, letter) for letter in text))


def tied(text: str) -> str:
    """Text whose numbers stay on one line with what follows them."""
    return text.replace(" %", f"{TIE}%").replace(" ± ", f"{TIE}±{TIE}")


def breakable(text: str) -> Markup:
    """A name that may be broken where its words end, and nowhere else if there is room."""
    parts = JOINT.split(text)
    return Markup("<wbr>").join(parts)


def policy(scripts: list[str]) -> str:
    """What the page may do: run these scripts, show pictures it made itself, and nothing else."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def plotly() -> str:
    """The script that draws figures."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@cache
def own() -> str:
    """The script that draws the page's figures in the reader's colours."""
    return (Path(__file__).parent / SCRIPT).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"inside_script": inside_script, "tied": tied, "breakable": breakable}
    return made
