"""Gradient norms of all parameters at once, and clipping with the same norms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import torch
from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.clipping.settings import Clipping
from nbdebug.model.module.sharded import is_sharded, whole_norms
from nbdebug.training.engine.probing.floats import to_floats

DTYPE, DEVICE, IS_SPARSE = attrgetter("dtype"), attrgetter("device"), attrgetter("is_sparse")
Named = Sequence[tuple[str, nn.Parameter]]


class Norms:
    """Norms of gradients.

    Args:
        found: the gradients; p: order of the norm: 1, 2 or inf.

    Attributes:
        each: norm of each gradient, 0-d tensors.
    """

    def __init__(self, found: list[torch.Tensor], device: torch.device, p: float = 2.0) -> None:
        self._found, self._device, self.p = found, device, p
        self._alike = len(set(map(DTYPE, found))) <= 1 and len(set(map(DEVICE, found))) <= 1
        self.each: tuple[torch.Tensor, ...] = ()
        if any(map(is_sharded, found)):
            self.each = whole_norms(found, p)
        elif found and self._alike:
            self.each = torch._foreach_norm(found, p)
        elif found:
            self.each = tuple(torch.linalg.vector_norm(g, p).to(found[0].device) for g in found)

    @cached_property
    def total(self) -> torch.Tensor:
        """Norm over all gradients, bit-identical to `torch.nn.utils.get_total_norm`."""
        if not self._found:
            return torch.zeros((), device=self._device)
        if self._alike:
            norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(self.each), self.p)
            return norm
        total: torch.Tensor = torch.nn.utils.get_total_norm(self._found, self.p)
        return total


@dataclass(frozen=True, slots=True)
class Clipped:
    """Result of clipping.

    Attributes:
        after: L2 norm over all gradients after clipping.
        active: whether any gradient was reduced.
        compared: the norm that was compared with the threshold.
    """

    after: float
    active: bool
    compared: float


class Gradients:
    """The gradients of one step: their norms, and clipping in place.

    Args:
        sparse: take sparse gradients by their values; they can be clipped by norm.

    Raises:
        ModelError: a gradient is sparse.
    """

    def __init__(
        self, parameters: Named, device: torch.device, clipping: Clipping, sparse: bool = False
    ) -> None:
        self._device, self._clipping = device, clipping
        self.named: list[tuple[str, nn.Parameter]] = []
        self.all: list[torch.Tensor] = []
        for named in parameters:
            parameter = named[1]
            # What a frozen parameter has is left over.
            if parameter.requires_grad and (gradient := parameter.grad) is not None:
                self.named.append(named)
                self.all.append(gradient)
        if any(map(IS_SPARSE, self.all)):
            self._take_values(sparse)

    def _take_values(self, sparse: bool) -> None:
        for place, ((name, _), gradient) in enumerate(zip(self.named, self.all, strict=True)):
            if not gradient.is_sparse:
                continue
            if not sparse:
                raise ModelError(
                    f"{name} has a sparse gradient: build its layer with sparse=False."
                )
            self.all[place] = gradient.coalesce().values()

    def measure(self, loss: torch.Tensor) -> tuple[float, float]:
        """Return loss and L2 norm over all gradients as numbers.

        The same transfer to the host fetches the norms that clipping uses.
        """
        self.norms = Norms(self.all, self._device)
        unit, p = self._clipping.compared
        self._own = self.norms if p == 2.0 else Norms(self.all, self._device, p)
        wanted = [loss, self.norms.total]
        if unit in ("parameter", "layer"):
            wanted += self._own.each
        elif self._own is not self.norms:
            wanted.append(self._own.total)
        loss_value, total, *self._values = to_floats(wanted)
        if not self._values:
            self._values = [total]
        return loss_value, total

    def clip(self, total: float) -> Clipped:
        """Clip in place, as the clipping controls say.

        Args:
            total: L2 norm over all gradients, on the host.
        """
        clipping = self._clipping
        unit, _ = clipping.compared
        if unit == "parameter":
            return self._clip_groups({name: (name,) for name, _ in self.named}, total)
        if unit == "layer":
            return self._clip_groups(clipping.layers, total)
        compared = self._values[0]
        clipping.window.add(compared)
        limit = clipping.limit
        # Far below the threshold torch multiplies by exactly 1: skip that.
        if clipping.mode == "off" or _far_below(compared, limit):
            return Clipped(total, False, compared)
        inside = [p for _, p in self.named]
        if unit == "value":
            torch.nn.utils.clip_grad_value_(inside, limit)
            return Clipped(self._total_now(), compared > limit, compared)
        torch.nn.utils.clip_grads_with_norm_(inside, limit, self._own.total)
        factor = min(1.0, limit / (compared + 1e-6))
        return Clipped(total * factor, factor < 1.0, compared)

    def _clip_groups(self, groups: Mapping[str, Sequence[str]], total: float) -> Clipped:
        """Clip group by group; the parameters of a group share a norm and a limit."""
        index_of = {name: index for index, (name, _) in enumerate(self.named)}
        clipping, largest, active = self._clipping, 0.0, False
        overrides = clipping.overrides if clipping.mode == "layer" else {}
        for group, names in groups.items():
            members = [index_of[name] for name in names if name in index_of]
            norm = _combined_norm([self._values[i] for i in members], self._own.p)
            limit = overrides.get(group, clipping.threshold)
            if group not in overrides:
                largest = max(largest, norm)
            if not members or _far_below(norm, limit):
                continue
            inside = [self.named[i][1] for i in members]
            exact = torch.nn.utils.get_total_norm([self.all[i] for i in members], self._own.p)
            torch.nn.utils.clip_grads_with_norm_(inside, limit, exact)
            active = active or norm > limit
        clipping.window.add(largest)
        return Clipped(self._total_now() if active else total, active, largest)

    def _total_now(self) -> float:
        return float(Norms(self.all, self._device).total)


def _far_below(norm: float, limit: float) -> bool:
    return norm < 0.999 * limit - 1e-6


def _combined_norm(norms: Sequence[float], p: float) -> float:
    """Combine the norms of parts into the norm of the whole."""
    if p == math.inf:
        return max(norms, default=0.0)
    return math.hypot(*norms) if p == 2.0 else sum(norms)
