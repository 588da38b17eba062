"""Damaged and crafted checkpoint files, and what becomes of a model that is to resume them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nbdebug as nbd
from nbdebug.training.timeline.disk.seal import write_sealed

VALUES: tuple[Any, ...] = (
    None, "x", -1, 0, [], {}, (), True, 1.5, 10**30, -(10**30), float("nan"), float("inf"), b"x",
    torch.zeros(2), torch.zeros(2, dtype=torch.int64), torch.zeros(()),
    torch.zeros(1).expand(10**12), [[]], {"x": 1},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all parts of a checkpoint; of long lists the first three."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list | tuple):
        for number in range(min(len(value), 3)):
            yield from places(value[number], (*path, number))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another part; `KeyError` as the new part drops it."""
    if not path:
        return new
    if isinstance(value, dict):
        value = {path[0]: None, **value}
        return {
            key: replaced(part, path[1:], new) if key == path[0] else part
            for key, part in value.items()
            if not (new is KeyError and len(path) == 1 and key == path[0])
        }
    parts = [replaced(v, path[1:], new) if n == path[0] else v for n, v in enumerate(value)]
    return type(value)(parts)


def write(path: Path, data: dict[str, Any]) -> None:
    """Write a file whose checksum is right."""
    step = data.get("counters", {})
    step = step.get("step", 0) if isinstance(step, dict) else 0
    with path.open("wb") as file:
        write_sealed(file, data, step if type(step) is int and 0 <= step < 10**20 else 0)


def fingerprint(model: torch.nn.Module) -> list[Any]:
    """Weights, buffers, flags and simple attributes of a model, and the global generators."""
    found: list[Any] = [tensor.clone() for tensor in model.state_dict().values()]
    found += [p.requires_grad for p in model.parameters()]
    for module in model.modules():
        found.append(module.training)
        found += [v for v in vars(module).values() if type(v) in (int, float, str, tuple)]
    numbers = np.random.get_state()
    return [*found, torch.get_rng_state(), str(numbers), random.getstate()]


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


def outcome(model: torch.nn.Module, resume: Callable[[torch.nn.Module], nbd.Debugger]) -> str:
    """Resume and train two steps: "refused", "trained", or what went wrong."""
    before = fingerprint(model)
    try:
        dbg = resume(model)
    except (nbd.CheckpointError, nbd.ModelError, nbd.DataError) as error:
        said = "" if len(str(error)) > 20 else f"says only {error}"
        return said or ("refused" if same(before, fingerprint(model)) else "refused, but moved")
    except Exception as error:
        return f"raised {type(error).__name__}: {str(error)[:120]}"
    with dbg:
        try:
            dbg.run(steps=2)
        except Exception as error:
            return f"resumed, then {type(error).__name__}: {str(error)[:120]}"
    return "trained"
