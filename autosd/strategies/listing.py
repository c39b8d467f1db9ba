"""What `autosd list strategies` says of each strategy, as plain values."""

from typing import Any

import torch

from autosd.models.build import build_student
from autosd.models.student import Student
from autosd.recipe import ModelSpec
from autosd.strategies.strategy import Knobs, RunSpec, Strategy, discover

REFERENCE_MODEL = "resnet18"
REFERENCE_CLASSES = 100
REFERENCE_IMAGE = (3, 32, 32)


def listing() -> list[dict[str, Any]]:
    """Every strategy: name, slots, reference, cost of its defaults, knobs.

    The cost is that of the published defaults on a CIFAR ResNet-18; `step` counts
    cross-entropy's step as 1.
    """
    student = build_student(ModelSpec(name=REFERENCE_MODEL), REFERENCE_CLASSES, REFERENCE_IMAGE, 0)
    return [
        {
            "name": name,
            "slots": sorted(map(str, strategy.slots)),
            "reference": strategy.reference,
            "cost": _cost(strategy, student),
            "knobs": knob_rows(strategy.Knobs),
        }
        for name, strategy in discover().items()
    ]


def knob_rows(knobs: type[Knobs]) -> list[dict[str, Any]]:
    """Each knob: name, published default, what is valid, what it means."""
    schema = knobs.model_json_schema().get("properties", {})
    return [
        {
            "name": name,
            "default": field.default,
            "valid": _valid(schema[name]),
            "meaning": field.description or "",
        }
        for name, field in knobs.model_fields.items()
    ]


def _valid(schema: dict[str, Any]) -> str:
    """Bounds or choices as one would write them: `(0, 1]`, `snapshot | ema`, `true | false`."""
    if "anyOf" in schema:
        return "a path, or none"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema["type"] == "boolean":
        return "true | false"
    low = f"[{schema['minimum']:g}" if "minimum" in schema else "("
    high = f"{schema['maximum']:g}]" if "maximum" in schema else ")"
    low += "" if "minimum" in schema else f"{schema.get('exclusiveMinimum', '-inf')}"
    high = high if "maximum" in schema else f"{schema.get('exclusiveMaximum', 'inf')})"
    return f"{low}, {high}" + (" integer" if schema["type"] == "integer" else "")


def _cost(strategy: type[Strategy], student: Student) -> dict[str, float]:
    cost = strategy(strategy.Knobs(), student, _reference_run()).cost()
    return {
        "forwards": round(cost.forwards, 3),
        "backwards": round(cost.backwards, 3),
        "step": round(cost.step, 3),
    }


def _reference_run() -> RunSpec:
    return RunSpec(
        classes=REFERENCE_CLASSES,
        count=1,
        labels=torch.zeros(1, dtype=torch.int64),
        image_shape=REFERENCE_IMAGE,
        batch_size=1,
        epochs=1,
        device=torch.device("cpu"),
    )
