"""The README's promises that a test can hold."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from autosd.strategies.strategy import discover

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    "pip install . && autosd search                 # main job: the digits study",
    'pip install -e ".[test]" && pytest             # tests',
]


def test_the_two_commands_stand_first_and_exactly():
    assert [line for line in README.splitlines() if line.startswith("pip install")] == COMMANDS


def test_the_check_of_ci_reads_them_from_the_readme(tmp_path: Path):
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    function = script[script.index("readme_command() {") : script.index("main_job=")]
    bash = f"checkout={ROOT}\n{function}\nreadme_command 1\nreadme_command 2\n"
    done = subprocess.run(["bash", "-c", bash], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [line.split("  ")[0] for line in COMMANDS]


@pytest.mark.parametrize("name", sorted(discover()))
def test_every_strategy_is_in_the_table_with_file_and_knobs(name):
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
    strategy = discover()[name]
    assert f"(autosd/strategies/{name}.py)" in row
    assert all(f"`{knob}`" in row for knob in strategy.Knobs.model_fields)
    assert ("our reading" in strategy.reference) == ("**our reading**" in row)


def test_every_link_leads_to_a_file():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_of_the_readme_exists(invoke):
    for name in sorted(set(re.findall(r"`autosd (\w+)", README))):
        assert invoke(name, "--help").exit_code == 0, name


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_tables_are_those_of_the_files_they_name(page: str):
    place = ROOT / "docs/results/tables.py"
    spec = importlib.util.spec_from_file_location("tables", place)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert tables.written(text) == text


def test_the_page_of_results_holds_every_table_there_is():
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in (ROOT / "docs/results").glob("*.csv"))
    assert files
    shown = re.findall(r"<!-- .*?\.csv.* -->", page)
    assert [name for name in files if not any(name in marker for marker in shown)] == []
