"""Search for the batch of an accumulated step in which a NaN or Inf arose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from nbdebug.model.state.model_state import undisturbed
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.probing.floats import to_floats
from nbdebug.training.engine.session import Session


def suspect(
    session: Session, step: Batch, loss: float, losses: Sequence[torch.Tensor]
) -> tuple[Batch, float, str]:
    """Find the batch of a step in which a NaN or Inf arose.

    Args:
        loss: of the step; losses: of its batches.

    Returns:
        The batch on the device, its loss, and which it is as a sentence. Outputs and targets of
        the session are None unless they are those of this batch.
    """
    parts, values = step.parts, to_floats(losses)
    bad = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
    if bad is None and math.isfinite(loss):
        bad = _first_bad_gradient(session, parts)
    if bad is None:
        said = f" No single one of the {len(parts)} batches of this step shows it."
        return parts[-1].to(session.device), loss, said
    if bad < len(parts) - 1:
        session.outputs = session.targets = None
    place = f" It arose in batch {bad + 1} of the {len(parts)} of this step."
    return parts[bad].to(session.device), values[bad], place


def _first_bad_gradient(session: Session, parts: Sequence[Batch]) -> int | None:
    """Number of the first batch whose gradient alone has a NaN or Inf; None if there is none."""
    held = [parameter for _, parameter in session.parameters if parameter.requires_grad]
    with undisturbed(session.model, session.surroundings), torch.enable_grad():
        for number, part in enumerate(parts):
            try:
                loss = session.evaluate(part.to(session.device).data)[0]
                found = torch.autograd.grad(loss.sum(), held, allow_unused=True)
            except Exception:
                # A model with a state of its own may not take a batch twice.
                return None
            if not all(bool(one.isfinite().all()) for one in found if one is not None):
                return number
    return None
