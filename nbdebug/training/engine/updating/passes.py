"""Forward and backward passes of a step, over one batch or over several."""

from __future__ import annotations

from functools import partial

import torch

from nbdebug.model.metrics import averaged
from nbdebug.model.module.forward import call, checked, split, with_gradient
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.probing.logged import check_logged
from nbdebug.training.engine.updating.step_body import StepLoop


def one_pass(loop: StepLoop, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Make the passes of a step of one batch; return its loss, and the losses of its parts."""
    loss = _forward(loop, batch)
    loop.session.optimizer.zero_grad()
    loop.probes.before_backward(loop.session.step)
    _backward(loop, loss)
    return loss, []


def accumulated(loop: StepLoop, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Make the passes of a step of several batches, which add to the gradients.

    Outputs and targets are those of the last batch; what is logged is averaged over the samples.

    Returns:
        The mean of the losses, as the sum of their shares, and the losses of the batches.
    """
    session, count = loop.session, len(batch.parts)
    losses, logged = [], []
    total = torch.zeros((), device=session.device)
    for number, part in enumerate(batch.parts):
        session.drop_outputs()
        loop.part = part.to(session.device)
        loss = _forward(loop, loop.part)
        if not number:
            session.optimizer.zero_grad()
            loop.probes.before_backward(session.step)
        share = loss / count
        _backward(loop, share)
        losses.append(loss.detach())
        total = share.detach() if not number else total + share.detach()
        loop.probes.after_batch(session.step, part.samples)
        logged.append((part.samples, session.logs))
    loop.part, session.logs = None, averaged(logged)
    return total, losses


def _forward(loop: StepLoop, batch: Batch) -> torch.Tensor:
    """Loss of a batch, with its graph; the session keeps outputs, targets and what is logged."""
    session = loop.session
    loss, session.outputs, session.targets = session.evaluate(batch.data)
    if session.logs:
        # A step that logs returns no outputs, of which metrics could be measured.
        check_logged(session.logs, loop.breakpoints.measured.difference(session.metrics.names))
    if session.outputs is None and loop.probes.read_outputs:
        session.compared = session.loss_reader.read([loss], lambda: batch.data)
    if session.step_fn is None:
        session.again = partial(call, session.model, split(batch.data)[0])
    return with_gradient(checked(loss, session.loss_name), session.loss_name)


def _backward(loop: StepLoop, loss: torch.Tensor) -> None:
    scaler = loop.session.scaler
    (loss if scaler is None else scaler.scale(loss)).backward()
