"""Workers look for modules where their driver does, be it beside a user's script."""

import json
import subprocess
import sys
from pathlib import Path

SHOW = (
    "import json\n"
    "from autosd.search.raytune.modules import DriverModules\n"
    "print(json.dumps(DriverModules()._py_driver_sys_path))\n"
)


def shown(here: Path, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, *words], cwd=here, capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


def test_the_folder_of_a_script_comes_first_and_the_working_folder_is_left_out(tmp_path: Path):
    script, here = tmp_path / "scripts/mine.py", tmp_path / "here"
    script.parent.mkdir()
    here.mkdir()
    script.write_text(SHOW)
    found = shown(here, str(script))
    assert str(script.parent) in found
    assert str(here) not in found
    assert str(here) not in shown(here, "-P", "-c", SHOW)
    assert str(here) in shown(here, "-c", SHOW)
