"""What activations give, modules and calls of functions alike, for checks that look at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nbdebug.model.activations.functional import ACTIVATION_FUNCTIONS
from nbdebug.model.module.names import every_module

FEATURES = ROWS = 256
MORE: dict[Any, str] = {
    torch.sigmoid: "sigmoid",
    torch.Tensor.sigmoid: "sigmoid",
    functional.sigmoid: "sigmoid",
    functional.softsign: "softsign",
    functional.hardtanh: "hardtanh",
    functional.relu6: "relu6",
}
KINDS: dict[Any, str] = {func: call.kind for func, call in ACTIVATION_FUNCTIONS.items()} | MORE
BOUNDS = {"tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
EDGE = 0.025


@dataclass
class Watched:
    """The outputs of one activation over some samples.

    Attributes:
        kind: as `relu`.
        peaks: parts [N, units] of the largest |output| of each unit over its positions.
        edges: parts [N, units] of the share of positions at the limits of its range.
        values: parts [N, features] of the first outputs of each sample.
    """

    kind: str
    peaks: list[torch.Tensor] = field(default_factory=list)
    edges: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)

    def take(self, output: torch.Tensor) -> None:
        """Note what one call gave."""
        out = output.detach().float()
        self.values.append(out.flatten(1)[:, :FEATURES].clone())
        units = out.flatten(2) if out.ndim > 3 else _rows(out)[:, :, None]
        self.peaks.append(units.abs().amax(2))
        if self.kind in BOUNDS:
            low, high = BOUNDS[self.kind]
            margin = EDGE * (high - low)
            at_edge = (units < low + margin) | (units > high - margin)
            self.edges.append(at_edge.float().mean(2))


def _rows(out: torch.Tensor) -> torch.Tensor:
    """Outputs [N, units]; positions of a sequence count as samples, up to 256 of them."""
    if out.ndim != 3:
        return out.flatten(1)
    rows = out.flatten(0, -2)
    return rows[:: -(-len(rows) // ROWS)]


def watch(
    model: nn.Module, batches: Sequence[Any], run: Callable[[Any], Any]
) -> dict[str, Watched]:
    """Run batches in eval mode; activations in the order of their first call, by name."""
    mode = _Watching()
    handles = []
    for name, module in every_module(model):
        handles += [
            module.register_forward_pre_hook(lambda _m, _i, n=name, m=module: mode.enter(n, m)),
            module.register_forward_hook(lambda _m, _i, _o: mode.leave(), always_call=True),
        ]
    model.eval()
    try:
        with torch.no_grad(), mode:
            for batch in batches:
                mode.counts.clear()
                run(batch)
    finally:
        for handle in handles:
            handle.remove()
    return mode.found


class _Watching(TorchFunctionMode):
    """Looks at what activation functions give, and in whose forward they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Watched] = {}
        self.counts: dict[str, int] = {}
        self._inside: list[tuple[str, nn.Module]] = []

    def enter(self, name: str, module: nn.Module) -> None:
        self._inside.append((name, module))

    def leave(self) -> None:
        if self._inside:
            self._inside.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        kind = KINDS.get(func)
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
        if self.counts[place] > 1:
            place += f", call {self.counts[place]}"
        self.found.setdefault(place, Watched(kind)).take(output)
