"""One measurement on the weights of a paused training, which is undone afterwards."""

from __future__ import annotations

import torch

from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.model.module.forward import checked, with_gradient
from nbdebug.model.nonfinite import eager
from nbdebug.training.engine.gradients import Gradients
from nbdebug.training.engine.state_guard import StateGuard
from nbdebug.training.tasks.checking.check_data import read_ahead, some_batches
from nbdebug.training.tasks.handler import Training


def measure_paused(training: Training, name: str) -> None:
    """Measure with one probe at the current step: forward and backward pass, no update.

    The histograms go to History. Weights, buffers, gradients, optimizer, random numbers and the
    order of the data are restored; an exception of the user's code becomes a message.
    """
    probes, session = training.loop.probes, training.session
    slot = probes.scheduled.get(name)
    if slot is None or not slot.probe.paused or not slot.on or not session.step:
        return
    if session.together:
        return
    try:
        if (failure := read_ahead(session)) is not None:
            raise failure
        guard = StateGuard(session)
    except BaseException as error:
        raise_interrupt(error)
        _tell(training, describe_error(error))
        return
    if guard.uncopied:
        place, kind = next(iter(guard.uncopied.items()))
        _tell(training, f"{place} ({kind}) may have a state that cannot be restored")
        return
    try:
        histograms = probes.measure_once(name, session.step, lambda: _forward_backward(training))
    except BaseException as error:
        raise_interrupt(error)
        _tell(training, describe_error(error))
    else:
        training.history.add_histograms(histograms)
    finally:
        guard.restore()
        left = guard.moved(shared=False)
    if left:
        title = "A measurement while paused changed the training"
        text = f"It changed {', '.join(left)} and could not restore it: press Reset or rewind."
        training.notify("error", title, text)


def measure_watched(training: Training) -> None:
    """Measure once with every on-demand probe that somebody watches, as after a rewind."""
    for name, slot in training.loop.probes.scheduled.items():
        if slot.on and slot.probe.on_demand:
            measure_paused(training, name)


def _forward_backward(training: Training) -> None:
    """Run the passes of a step on a training batch, up to clipping."""
    session = training.session
    with session.rng, session.recurrent, torch.enable_grad(), eager(session.model):
        batch = next(iter(some_batches(session)))
        loss, session.outputs, session.targets = session.evaluate(batch)
        loss = with_gradient(checked(loss, session.loss_name), session.loss_name)
        session.optimizer.zero_grad()
        loss.backward()
        found = Gradients(session.parameters, session.device, session.clipping)
        _, norm = found.measure(loss)
        found.clip(norm)


def _tell(training: Training, reason: str) -> None:
    title = "Nothing could be measured while paused"
    training.notify("info", title, f"{reason.rstrip('.')}. Training is as before.")
