"""YAML that expands, nests or goes on without end: a few lines, and nothing written."""

from pathlib import Path

import pytest

from autosd import yamlfile

from .garbling import run, snapshot

SIZE = 90_000
BOMBS = {
    "aliases": "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9)),
    "aliases of a mapping": "a: &a {b: 1}\nc: {<<: *a}\n",
    "brackets": "[" * SIZE,
    "braces": "{a: " * (SIZE // 4),
    "dashes": "- " * (SIZE // 2) + "a",
    "questions": "? " * (SIZE // 2) + "a",
    "a long list": "data: [" + "a," * (SIZE // 2) + "a]",
    "many keys": "{" + ",".join(f"k{n}: 1" for n in range(10_000)) + "}",
    "a long number": "epochs: " + "1" * SIZE,
    "a long number in base 60": "epochs: 1" + ":1" * (SIZE // 2),
    "a long hexadecimal number": "epochs: 0x" + "f" * SIZE,
    "a long fraction in base 60": "epochs: 1" + ":1" * (SIZE // 2) + ".5",
    "a large file": "data: " + "a" * (yamlfile.MAX_BYTES + 1),
    "a character that is none": 'data: "\\UFFFFFFFF"',
    "half of a surrogate pair": 'data: "\\ud800"',
    "bytes": "data: !!binary QUFB",
    "a set": "data: !!set {a, b}",
    "a tag": "data: !!python/object/apply:os.getcwd []",
    "two documents": "data: digits\n---\ndata: digits\n",
    "no mapping": "3",
    "a number for a block": "data: digits\nrecipe: 3\noptimizer: 3\n",
    "an empty strategy": "data: digits\nstrategies: [{}, 3, null]\n",
    "a mapping as a key": "{? {a: 1} : 2}",
    "a list as a key": "{? [1] : 2}",
    "numbers as keys": "{1: 2, null: 3, 2.5: 4, true: 5}",
    "what a terminal obeys": 'data: "\\e]0;title\\a\\e[31m"\n"\\e[2J": 1\n',
}
READERS = (
    "train bomb.yaml",
    "search bomb.yaml --epochs 2 --set optimizer.lr=0.1 --set masd.mask_ratio=0.2",
    "search --space bomb.yaml",
    "compare bomb.yaml --epochs 1",
    "inspect bomb.yaml",
    "enqueue tiny bomb.yaml",
    "evaluate tiny --data bomb.yaml",
)
LONGEST = 51
"""Lines of a message."""


FEW = (
    "aliases",
    "aliases of a mapping",
    "dashes",
    "a long number in base 60",
    "a large file",
    "half of a surrogate pair",
    "a set",
    "a tag",
    "an empty strategy",
    "a list as a key",
    "what a terminal obeys",
)


@pytest.mark.parametrize("bomb", FEW)
def test_a_bomb_is_refused_in_few_words(tmp_path: Path, bomb: str):
    check(tmp_path, bomb, READERS[:1])


@pytest.mark.slow
def test_every_command_that_reads_yaml_refuses_every_bomb(searched: Path, tmp_path: Path):
    before = snapshot(searched)
    for bomb in BOMBS:
        check(searched, bomb, READERS)
        (searched / "bomb.yaml").unlink()
        assert snapshot(searched) == before, bomb
    print(f"YAML bombs: {len(BOMBS) * len(READERS)} cases, all refused")


def check(folder: Path, bomb: str, commands: tuple[str, ...]) -> None:
    (folder / "bomb.yaml").write_text(BOMBS[bomb])
    for command in commands:
        said = run(folder, command)
        assert said.bug is None, (command, said.bug)
        assert said.code == 2, (command, said)
        lines = said.text.splitlines()
        assert lines, command
        assert len(lines) <= LONGEST
        assert all(line.startswith("error: ") and len(line) < 1000 for line in lines), lines
        assert said.text.replace("\n", "").isprintable(), said.text


@pytest.mark.parametrize("kind", ["study.yaml", "space.yaml"])
def test_a_bomb_in_a_study_is_refused(searched: Path, kind: str):
    path = searched / "runs/tiny" / kind
    whole = path.read_bytes()
    try:
        for bomb in ("aliases", "brackets", "a long number in base 60"):
            path.write_text(BOMBS[bomb])
            said = run(searched, "status tiny")
            assert (said.code, said.bug) == (2, None)
            assert kind in said.text
    finally:
        path.write_bytes(whole)
