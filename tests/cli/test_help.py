import subprocess
import sys

import pytest
import typer.main

from autosd.cli.main import app

COMMANDS = sorted(typer.main.get_command(app).commands)


def test_without_a_command_there_is_help(invoke):
    result = invoke()
    assert result.exit_code == 0
    assert all(name in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(invoke, name):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert f"autosd {name}" in result.stdout
    assert "Example" in result.stdout


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"dashboard"}))
def test_every_command_speaks_json(invoke, name):
    assert "--json" in invoke(name, "--help").stdout


def test_every_common_option_of_search_is_there(invoke):
    options = (
        "--name --data --model --space --trials --epochs --time-budget --sampler --pruner --slots "
        "--cpus-per-trial --gpus-per-trial --storage --seed --dir --dry-run --set"
    )
    shown = invoke("search", "--help").stdout
    assert [option for option in options.split() if option not in shown] == []


@pytest.mark.parametrize(
    "words", [["--help"], ["status", "none"], ["best", "none"], ["trials", "none"]]
)
def test_reading_commands_import_neither_torch_nor_ray(here, words):
    code = (
        "import sys\n"
        "from autosd.cli.main import main\n"
        f"sys.argv = ['autosd', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'scipy', 'sklearn', 'pandas', 'plotly'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here)
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_packages(invoke):
    from importlib import metadata

    assert invoke("--version").stdout.strip() == f"autosd {metadata.version('autosd')}"
