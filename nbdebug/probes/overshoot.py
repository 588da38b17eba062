"""Overshoot of a step beyond the minimum along its direction."""

from __future__ import annotations

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values

MAX_KEPT_BYTES = 64 * 2**20


class Overshoot(Probe):
    """Overshoot of a step, from a parabola fitted along the step: `overshoot`.

    The overshoot is the negative ratio of the slopes of the loss at the end and at the start of
    the step, along the step: -1 means no progress, 0 the minimum of the parabola, 1 the same
    loss on the other side, and more than 1 a higher loss. This is Cockpit's Alpha (Schneider
    et al. 2021), with the final slope taken from the batch of the next step, which saves a
    forward pass. `uphill` is 1 for a step that starts along the gradient instead of against it, 0
    for others. The probe does not measure while gradients are clipped.
    """

    name = "overshoot"
    reads_weights = True
    order = 25

    def attach(self, session: TrainingState) -> None:
        self._session = session
        # A step of several optimizers is not one step along one slope.
        self.idle = bool(session.named_optimizers)
        self._held: list[torch.nn.Parameter] = []
        self._way: list[torch.Tensor] = []
        # Gradients before the update, with their versions: a loop may clear them after it.
        self._grads: list[tuple[torch.Tensor | None, int]] = []
        self._begun = -1
        self._slope: torch.Tensor | None = None
        self._end: torch.Tensor | None = None

    def forget(self) -> None:
        self._slope = self._end = None
        self._grads = []
        self._begun, self.soon = -1, False

    def before_update(self, step: int) -> None:
        session = self._session
        if self._slope is not None and self._begun == step - 1:
            self._end = self._along([parameter.grad for parameter in self._held])
            return
        self.forget()
        if session.clipping.mode == "off":
            self._begun = step
            self._copy([p for _, p in session.parameters if p.requires_grad])
            grads = [parameter.grad for parameter in self._held]
            self._grads = [(grad, 0 if grad is None else grad._version) for grad in grads]

    def read(self, step: int) -> Values:
        self.soon = False
        if self._end is not None and self._slope is not None:
            # A step that starts uphill has no minimum along its direction.
            found = torch.where(self._slope < 0, -self._end / self._slope, torch.nan)
            uphill = (self._slope > 0).float()
            self._slope = self._end = None
            if sum(copy.nbytes for copy in self._way) > MAX_KEPT_BYTES:
                self._way = []
            return {"overshoot": found, "uphill": uphill}
        if self._begun != step:
            return {}
        grads, self._grads = self._grads, []
        if any(grad is not None and grad._version != version for grad, version in grads):
            return {}
        torch._foreach_sub_(self._way, [p.detach() for p in self._held])
        self._slope = self._along([grad for grad, _ in grads])
        self.soon = True
        return {}

    def _copy(self, held: list[torch.nn.Parameter]) -> None:
        now = [parameter.detach() for parameter in held]
        if len(self._way) != len(held) or any(
            one is not other for one, other in zip(held, self._held, strict=False)
        ):
            self._way = [torch.empty_like(parameter) for parameter in now]
        self._held = held
        torch._foreach_copy_(self._way, now)

    def _along(self, grads: list[torch.Tensor | None]) -> torch.Tensor:
        """Slope of the loss along the step; `_way` points from its end to its start."""
        device = self._way[0].device
        parts = [
            torch.dot(grad.to_dense().flatten(), back.flatten()).float().to(device)
            for grad, back in zip(grads, self._way, strict=True)
            if grad is not None
        ]
        return -torch.stack(parts).sum() if parts else torch.zeros((), device=device)
