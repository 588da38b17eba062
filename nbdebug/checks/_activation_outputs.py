"""Recorded outputs of activations, both modules and function calls, for checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from nbdebug.model.activations.functional import ACTIVATION_FUNCTIONS
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.module.names import every_module

MAX_FEATURES = MAX_ROWS = 256
MORE_KINDS: dict[Any, str] = {
    torch.sigmoid: "sigmoid",
    torch.Tensor.sigmoid: "sigmoid",
    functional.sigmoid: "sigmoid",
    functional.softsign: "softsign",
    functional.hardtanh: "hardtanh",
    functional.relu6: "relu6",
}
KIND_OF_FUNCTION: dict[Any, str] = {
    func: call.kind for func, call in ACTIVATION_FUNCTIONS.items()
} | MORE_KINDS
OUTPUT_RANGES = {"tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
EDGE_MARGIN = 0.025


@dataclass
class Watched:
    """Recorded outputs of one activation over some samples.

    Attributes:
        kind: name of the activation function, such as `relu`.
        first: key of the first call in one pass over the model, of later calls as well.
        peaks: tensors [N, units], the largest |output| of each unit over its positions.
        edges: tensors [N, units], the share of positions near a limit of the output range.
        values: tensors [N, features], outputs of each sample from all of its channels and places.
        behind: True if it was called outside of the model, and nothing of the model after it.
    """

    kind: str
    first: str
    peaks: list[torch.Tensor] = field(default_factory=list)
    edges: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)
    behind: bool = False

    def take(self, output: torch.Tensor) -> None:
        """Record the output of one call."""
        out = output.detach().float()
        self.values.append(_spread(out.flatten(1)))
        units = out.flatten(2) if out.ndim > 3 else _rows(out)[:, :, None]
        self.peaks.append(units.abs().amax(2))
        if self.kind in OUTPUT_RANGES:
            low, high = OUTPUT_RANGES[self.kind]
            margin = EDGE_MARGIN * (high - low)
            at_edge = (units < low + margin) | (units > high - margin)
            self.edges.append(at_edge.float().mean(2))


def _spread(flat: torch.Tensor) -> torch.Tensor:
    """At most 256 columns of a tensor [N, features], from its first to its last."""
    count = flat.shape[1]
    if count <= MAX_FEATURES:
        return flat.clone()
    return flat[:, torch.linspace(0, count - 1, MAX_FEATURES, device=flat.device).long()]


def _rows(out: torch.Tensor) -> torch.Tensor:
    """Reshape to [N, units]; positions of a sequence count as samples, at most 256 of them."""
    if out.ndim != 3:
        return out.flatten(1)
    rows = out.flatten(0, -2)
    return rows[:: -(-len(rows) // MAX_ROWS)]


def set_train(model: nn.Module, resting: Sequence[nn.Module]) -> None:
    """Put a model in training mode, except for modules that training runs in eval mode."""
    model.train()
    for module in resting:
        module.training = False


def eval_by_batch(model: nn.Module, resting: Sequence[nn.Module], in_loop: bool = False) -> None:
    """Put a model in eval mode, but BatchNorm in training mode.

    The running statistics of an untrained BatchNorm do not normalise its inputs, so that the
    activations of a deep network shrink to 0 in eval mode and only there.

    Args:
        resting: modules that training runs in eval mode.
        in_loop: code of the user's may mind the mode: put layers of dropout in eval mode only.
    """
    if in_loop:
        set_train(model, resting)
        for module in model.modules():
            if isinstance(module, _DropoutNd):
                module.training = False
        return
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m not in resting]
    model.eval()
    for norm in norms:
        norm.training = True


def watch(
    model: nn.Module,
    batches: Sequence[Any],
    run: Callable[[Any], Any],
    resting: Sequence[nn.Module] = (),
    in_loop: bool = False,
) -> dict[str, Watched]:
    """Run batches and record activations by name, in the order of first calls.

    The modes are those of `eval_by_batch`.
    """
    eval_by_batch(model, resting, in_loop)
    try:
        return _watched(model, batches, run)
    except ValueError:
        if in_loop:
            raise
        # A single value per channel, by which BatchNorm cannot normalise.
        model.eval()
        return _watched(model, batches, run)


def _watched(
    model: nn.Module, batches: Sequence[Any], run: Callable[[Any], Any]
) -> dict[str, Watched]:
    mode = _Watching()
    handles = []
    for name, module in every_module(model):
        handles += [
            before_forward(module, lambda _m, _i, n=name, m=module: mode.enter(n, m)),
            after_forward(module, lambda _m, _i, _o: mode.leave(), always_call=True),
        ]
    try:
        with mode:
            for batch in batches:
                mode.begin()
                run(batch)
    finally:
        for handle in handles:
            handle.remove()
    return mode.found


class _Watching(TorchFunctionMode):
    """Records outputs of activation functions and the modules whose forward calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Watched] = {}
        self.counts: dict[str, int] = {}
        self._inside: list[tuple[str, nn.Module]] = []
        self._behind: list[Watched] = []

    def begin(self) -> None:
        """Begin with another batch."""
        self.counts.clear()
        self._behind.clear()

    def enter(self, name: str, module: nn.Module) -> None:
        for one in self._behind:
            one.behind = False
        self._behind.clear()
        self._inside.append((name, module))

    def leave(self) -> None:
        if self._inside:
            self._inside.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        kind = KIND_OF_FUNCTION.get(func)
        if kind is not None and isinstance(output, torch.Tensor) and output.ndim > 1:
            self._note(kind, output)
        return output

    def _note(self, kind: str, output: torch.Tensor) -> None:
        name, module = self._inside[-1] if self._inside else ("", None)
        if type(module).__module__.startswith("torch.nn") and not list(module.children()):  # type: ignore[union-attr]
            place = name
        else:
            place = f"{name} ({kind})".lstrip()
        self.counts[place] = self.counts.get(place, 0) + 1
        count = self.counts[place]
        key = place if count == 1 else f"{place}, call {count}"
        known = self.found.setdefault(key, Watched(kind, place))
        known.take(output)
        if not self._inside:
            known.behind = True
            self._behind.append(known)
