"""Gradients that zero_grad did not clear."""

from __future__ import annotations

import torch

from nbdebug.model.freezing import values_of
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class LeftGradient(Probe):
    """L2 norm of the gradients that `zero_grad` did not clear: `left_gradient`.

    The norm is measured before the backward pass, over the parameters of the optimizer; 0 means
    that all gradients were cleared.
    """

    name = "left_gradient"
    reads_weights = True
    cost = "cheap"
    order = 12

    def attach(self, session: TrainingState) -> None:
        self._session = session
        # Which of several optimizers takes which gradient is known when it makes its update.
        self.idle = bool(session.named_optimizers)
        self._left: torch.Tensor | float = 0.0

    def before_backward(self, step: int) -> None:
        groups = self._session.optimizer.param_groups
        held = (p.grad for group in groups for p in group["params"] if p.grad is not None)
        found = [values_of(gradient) for gradient in held]
        # Usually there are none: zero_grad sets gradients to None.
        norms = [norm.float() for norm in torch._foreach_norm(found)] if found else []
        device = norms[0].device if norms else None
        left = [norm.to(device) for norm in norms]
        self._left = torch.linalg.vector_norm(torch.stack(left)) if left else 0.0

    def read(self, step: int) -> Values:
        return {"left_gradient": self._left}
