"""Frozen layers that were never trained."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks._initial_weights import LAYERS, is_large, is_new, matrix_of, new_norms
from nbdebug.checks._named import first_names
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.joint_optimizer import JointOptimizer

MIN_LAYERS = 2
# Names of modules and classes of features that are random on purpose.
MEANT = re.compile(r"random|reservoir|fixed|echo_?state|\brff|\belm", re.IGNORECASE)
Named = Sequence[tuple[str, nn.Module]]
EXPECTED = "weights of an earlier training"


class FrozenLayers(Check):
    """Checks that no frozen layer is left with the random weights of its construction.

    Frozen layers of a trained network are meant so. In a network whose other layers begin with
    random weights, a frozen layer that still has those of its construction never learns: a
    requires_grad=False or a torch.no_grad() was set on the wrong layer. Several frozen layers with
    such weights are a network that was never loaded: load_state_dict(strict=False) passes over all
    names that it does not know, and the layers behind learn from noise. Initial weights are known
    by their distribution. One layer, a network with adapters (LoRA), copies that follow a network
    which learns, and modules whose name or class says random, fixed or reservoir are left alone.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "frozen_layers"
    step = 3
    order = 14
    title = "Frozen layers were trained before"
    source = "PyTorch, nn.init, nn.Linear, nn.Conv2d (initialisation) and Module.load_state_dict"

    def examine(self, context: CheckContext) -> Outcome:
        model = context.model
        layers: Named = [
            (name, module) for name, module in model.named_modules()
            if isinstance(module, LAYERS) and matrix_of(module) is not None
        ]  # fmt: skip
        frozen = [(name, m) for name, m in layers if not _learns(m)]
        trained = [(name, m) for name, m in layers if _learns(m)]
        if not frozen:
            return Outcome("not_applicable", "no layer is frozen.")
        norms = new_norms(model)
        adapted = [name for name, _ in frozen if _is_adapted(model, name)]
        new = [
            name for name, m in frozen
            if is_new(m, norms) and name not in adapted and not _is_meant(model, name)
        ]  # fmt: skip
        large = [m for _, m in trained if is_large(m)]
        fresh = not context.step and all(is_new(m, norms) for m in large)
        if new and layers[-1][0] not in new and len(frozen) < len(trained) and fresh:
            return _wrong_layer(new, len(trained))
        never = [] if adapted or not trained else _untrained(context, new, layers[-1][0], trained)
        if sum(getattr(model.get_submodule(name), "num_layers", 1) for name in never) >= MIN_LAYERS:
            return _not_loaded(never, len(frozen))
        return Outcome("pass", f"{len(frozen)} frozen layers", EXPECTED)


def _wrong_layer(new: Sequence[str], learning: int) -> Outcome:
    return Outcome(
        "warning", f"layer {first_names(new)} is frozen with the random weights of its "
        f"construction; {learning} other layers learn", f"{EXPECTED}, or layers that learn",
        f"Call requires_grad_(True) on layer {new[0]} and give its parameters to the optimizer, "
        "or load trained weights before it is frozen.",
    )  # fmt: skip


def _not_loaded(never: Sequence[str], frozen: int) -> Outcome:
    return Outcome(
        "warning", f"{len(never)} of {frozen} frozen layers have random weights, as their "
        f"initialisation draws them: {first_names(never)}; they were never trained or loaded",
        EXPECTED, "Load the trained weights: print what load_state_dict(..., strict=False) "
        "returns, whose missing keys were not loaded (names may begin with 'module.' or another "
        "prefix). Random features that are meant so belong in a module named for it, such as "
        "random_features.",
    )  # fmt: skip


def _untrained(context: CheckContext, new: Sequence[str], last: str, trained: Named) -> list[str]:
    """Names of layers that follow no network which learns, and wait for no phase of their own."""
    optimizer, held = context.subject.optimizer, set()
    if isinstance(optimizer, JointOptimizer):
        # Each network of an adversarial training is frozen while the other one learns.
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found = []
    for name in new:
        layer = context.model.get_submodule(name)
        weight = matrix_of(layer)
        assert weight is not None
        follows = any(_is_twin(name, weight, other, matrix_of(m)) for other, m in trained)
        if name != last and id(weight) not in held and not follows:
            found.append(name)
    return found


def _is_twin(name: str, weight: torch.Tensor, other: str, its: torch.Tensor | None) -> bool:
    """True for the same layer of a second network, such as `target.0` of `online.0`, or a copy."""
    if its is None or its.shape != weight.shape:
        return False
    mine, theirs = name.split("."), other.split(".")
    if len(mine) == len(theirs):
        apart = [(a, b) for a, b in zip(mine, theirs, strict=True) if a != b]
        if len(apart) == 1 and not any(one.isdigit() for one in apart[0]):
            return len(mine) > 1 and mine[-1] == theirs[-1]
    return torch.equal(its, weight)


def _learns(layer: nn.Module) -> bool:
    weight = matrix_of(layer)
    return weight is not None and weight.requires_grad


def _is_meant(model: nn.Module, name: str) -> bool:
    """True if a module says by its name or its class that its weights are random."""
    parts = name.split(".")
    paths = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    names = [name, *(type(model.get_submodule(path)).__name__ for path in ["", *paths])]
    return any(MEANT.search(one) for one in names)


def _is_adapted(model: nn.Module, name: str) -> bool:
    """True if two smaller matrices that learn stand beside a layer, such as those of LoRA."""
    parent, weight = model.get_submodule(name.rpartition(".")[0]), model.get_submodule(name)
    matrix = matrix_of(weight)
    if isinstance(parent, nn.Sequential) or parent is model or matrix is None:
        return False
    outer, inner = matrix.shape[:2]
    shapes = [p.shape[:2] for p in parent.parameters() if p.requires_grad and p.ndim > 1]
    downs = {min(shape) for shape in shapes if inner in shape}
    ups = {min(shape) for shape in shapes if outer in shape}
    return any(2 * rank <= min(outer, inner) for rank in downs & ups)
