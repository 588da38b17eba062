"""Updates that a loop makes with gradients which a GradScaler scaled and nobody unscaled."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch

from nbdebug.core.results.metric_names import ScaledUpdate
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.source_line import user_line
from nbdebug.training.engine.loop import Loop
from nbdebug.training.own_loop.gradient_marks import gradient_marks
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer

# Scaled losses that are kept in mind, without keeping them alive.
MAX_LOSSES = 16


class ScaledUpdates:
    """Tells of an update that is made past the GradScaler whose scale its gradients have."""

    def __init__(self) -> None:
        self._loop: Loop | None = None
        self._losses: list[tuple[weakref.ref[torch.Tensor], Any]] = []
        self._scalers: dict[str, Any] = {}

    def attach(self, loop: Loop) -> None:
        """Set the loop of the training, whose history takes what is found."""
        self._loop = loop

    def scaled(self, scaler: Any, losses: Any) -> None:
        """See losses that a scaler gave back."""
        if scaler.is_enabled():
            self._losses += [(weakref.ref(one), scaler) for one in tensors_of(losses)]
            del self._losses[:-MAX_LOSSES]

    def passed_back(self, name: str, roots: Sequence[torch.Tensor]) -> None:
        """See losses that gave gradients to the parameters of an optimizer."""
        known = [scaler for loss, scaler in self._losses if any(loss() is r for r in roots)]
        if known:
            self._scalers[name] = known[-1]

    def before_update(self, one: WatchedOptimizer) -> None:
        """See an update that comes next, in a step of the training."""
        scaler, loop = self._scalers.pop(one.name, None), self._loop
        if scaler is None or loop is None or loop.history.results.of(ScaledUpdate) is not None:
            return
        known = scaler._per_optimizer_states.get(id(one.optimizer), {})
        ready = getattr(known.get("stage"), "name", "READY") == "READY"
        # Some optimizers unscale by themselves; a loop may do so by hand.
        by_itself = getattr(one.optimizer, "grad_scale", None) is not None
        if not ready or by_itself or one.marks != gradient_marks(one.parameters):
            return
        # Last, since it waits for the accelerator.
        scale = float(scaler.get_scale())
        if scale != 1.0:
            loop.history.set_result(ScaledUpdate(loop.session.step, scale, user_line()))
