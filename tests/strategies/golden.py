"""Golden cases: inputs as formulas of indices, expected values to twelve digits."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parent.parent / "golden"
FUNCTIONS = {
    "sin": math.sin,
    "cos": math.cos,
    "floor": math.floor,
    "PHI": 0.6180339887498949,
    "__builtins__": {},
}


def cases(file: str, *methods: str) -> list[Any]:
    """The cases of some methods in a file, as parameters named after them."""
    return [
        pytest.param(case, id=f"{case['method']}: {case['case']}")
        for case in json.loads((FOLDER / file).read_text())
        if case["method"] in methods
    ]


def tensor(value: Any, shape: Sequence[int] = (), names: str = "ij", **constants: int) -> Tensor:
    """A float64 tensor of a formula over `names`, of `{formula, shape}`, or of plain numbers."""
    if isinstance(value, Mapping):
        return tensor(value["formula"], value["shape"], value["index_names"], **constants)
    if not isinstance(value, str):
        return torch.tensor(value, dtype=torch.float64)
    code = compile(value, value, "eval")
    flat = [
        eval(code, {**FUNCTIONS, **constants, **dict(zip(names, place, strict=False))})
        for place in itertools.product(*map(range, shape))
    ]
    return torch.tensor(flat, dtype=torch.float64).reshape(tuple(shape))


def rows(formula: str, index: Sequence[int], columns: int, **constants: int) -> Tensor:
    """Rows `index` of a formula over i (row) and j (column)."""
    return torch.cat(
        [tensor(formula, (1, columns), "_j", i=i, **constants) for i in index]
        or [torch.zeros(0, columns, dtype=torch.float64)]
    )


def assert_close(found: Any, expected: Any) -> None:
    """Relative 1e-9, absolute 1e-12 near zero, in double precision."""
    found = torch.as_tensor(found).detach()
    assert found.dtype in (torch.float64, torch.int64, torch.bool), found.dtype
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.double(), expected, rtol=1e-9, atol=1e-12)


def assert_fingerprint(gradient: Tensor, expected: Mapping[str, float], prefix: str) -> None:
    """Compare a gradient with its first element, Frobenius norm and weighted sum."""
    i = torch.arange(gradient.shape[0])[:, None]
    j = torch.arange(gradient.shape[1])[None]
    found = {
        "00": gradient[0, 0],
        "g00": gradient[0, 0],
        "fro": gradient.norm(),
        "wsum": ((1 + i + 2 * j) * gradient).sum(),
    }
    keys = [key for key in expected if key.startswith(prefix)]
    assert keys
    for key in keys:
        assert_gradient(found[key.removeprefix(prefix)], expected[key])


def assert_gradient(found: Tensor, expected: float) -> None:
    """As `assert_close`; values below 1e-9 are compared absolutely."""
    torch.testing.assert_close(
        found.detach(), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12
    )
