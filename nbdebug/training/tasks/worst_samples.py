"""Search for the samples of a batch with the largest losses, each evaluated alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import nn

from nbdebug.core.commands.examining import FindWorstSamples
from nbdebug.core.html.thumbnail import thumbnail
from nbdebug.core.results.worst_samples import WorstSample, WorstSamples
from nbdebug.errors import ModelError, TaskStopped
from nbdebug.model.module.forward import leaves, some_samples, split
from nbdebug.model.nonfinite import eager
from nbdebug.model.precision import wide
from nbdebug.model.state.model_state import undisturbed
from nbdebug.training.data.batch import Batch, draw_step
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.stopping.breakpoints import Breakpoints
from nbdebug.training.timeline.timeline import Timeline

MAX_SAMPLES = 256
MAX_SECONDS = 5.0
MAX_SHOWN_INPUTS = 6


def worst_samples(
    timeline: Timeline,
    session: Session,
    breakpoints: Breakpoints,
    command: FindWorstSamples,
    progress: TaskProgress,
) -> WorstSamples:
    """Find the samples with the largest losses, at the weights before the update of their step.

    The batch is that of the step that training stopped in, else of the last step; any other
    step is rerun from a checkpoint.

    Raises:
        TaskStopped: the search was stopped; DataError, ArgumentError: the step is unreachable.
        ModelError: the model cannot take a single sample.
        Exception: whatever the user's code raised. Training is where it was.
    """
    stopped = breakpoints.inspection
    if stopped is not None and command.step in (None, stopped.step):
        batch = stopped.whole
        if batch is None or not batch.parts:
            batch = Batch(stopped.batch, _count(stopped.batch), 0, 0.0, stopped.indices)
        return _worst(session, batch, stopped.step, command.top, progress)
    step = max(session.step - 1, 0) if command.step is None else command.step
    with timeline.rolled_back():
        timeline.capture_at(timeline.resolve(step), progress)
        batch = draw_step(session.sampler, session.batching)
        return _worst(session, batch, session.step, command.top, progress)


def _count(data: Any) -> int:
    sizes = [len(leaf) for leaf in leaves(data) if isinstance(leaf, torch.Tensor) and leaf.ndim]
    return min(sizes, default=0)


def _worst(
    session: Session, batch: Batch, step: int, top: int, progress: TaskProgress
) -> WorstSamples:
    # A model may draw random numbers in eval mode too: restore those of training.
    position = session.rng.position()
    try:
        found = _examine_all(session, batch, progress)
    finally:
        session.rng.seek(position)
    worst = sorted(found, key=_severity, reverse=True)[:top]
    return WorstSamples(step, tuple(worst), len(found), batch.samples)


def _examine_all(session: Session, batch: Batch, progress: TaskProgress) -> list[WorstSample]:
    found: list[WorstSample] = []
    count, start = min(batch.samples, MAX_SAMPLES), time.monotonic()
    with (
        undisturbed(session.model, session.surroundings),
        eager(session.model),
        _differentiable(session.model),
    ):
        # BatchNorm takes no single sample in train mode.
        session.model.eval()
        for part, index in islice(_one_by_one(session, batch), count):
            progress.advance(len(found) / count, "Evaluating samples")
            if progress.should_stop():
                raise TaskStopped("The search was stopped; training is where it was.")
            found.append(_examine(session, part, index, len(found)))
            if time.monotonic() - start > MAX_SECONDS:
                break
    return found


def _one_by_one(session: Session, batch: Batch) -> Iterator[tuple[Batch, int]]:
    """Each sample of a step: its batch on the device, and its position there."""
    for part in batch.each:
        moved = part.to(session.device)
        yield from ((moved, index) for index in range(part.samples))


def _differentiable(model: nn.Module) -> AbstractContextManager[None]:
    """Switch cuDNN off for recurrent layers: its backward pass requires train mode."""
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()


def _severity(sample: WorstSample) -> tuple[bool, float, float]:
    finite = math.isfinite(sample.loss) and math.isfinite(sample.grad_norm)
    return not finite, sample.loss if finite else 0.0, sample.grad_norm if finite else 0.0


def _examine(session: Session, batch: Batch, index: int, position: int) -> WorstSample:
    """Evaluate a sample of a batch.

    Args:
        position: of the sample among all of the step.
    """
    one = some_samples(batch.data, slice(index, index + 1))
    with session.rng, torch.enable_grad():
        try:
            loss, outputs, targets = session.evaluate(one)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelError(f"The model or the loss takes no single sample: {error}") from error
        held = [parameter for _, parameter in session.parameters if parameter.requires_grad]
        gradients = torch.autograd.grad(loss.sum(), held, allow_unused=True)
    norms = [gradient.float().norm() for gradient in gradients if gradient is not None]
    total = torch.stack([norm.to(session.device) for norm in norms]).norm() if norms else None
    return WorstSample(
        None if batch.indices is None else int(batch.indices[index]),
        position,
        float(loss.detach().sum()),
        math.nan if total is None else float(total),
        _target(targets),
        _predicted(outputs, targets),
        *_inputs(one, session),
    )


def _target(targets: Any) -> Any:
    if not isinstance(targets, torch.Tensor) or not targets.numel() or not targets.ndim:
        return None
    return targets[0].tolist()


def _predicted(outputs: Any, targets: Any) -> Any:
    """Return the predicted class if targets are classes, else the outputs."""
    if not isinstance(outputs, torch.Tensor) or not outputs.numel() or not outputs.ndim:
        return None
    classes = isinstance(targets, torch.Tensor) and not targets.is_floating_point()
    if classes and outputs.ndim > 1 and outputs.shape[:1] + outputs.shape[2:] == targets.shape:
        return outputs[0].argmax(0).tolist()
    return outputs[0].detach().tolist()


def _inputs(one: Any, session: Session) -> tuple[tuple[float, ...], str]:
    """Return the first inputs of a sample, and its thumbnail if the sample is an image."""
    data = split(one)[0] if session.step_fn is None else one
    found = next((leaf for leaf in leaves(data) if isinstance(leaf, torch.Tensor)), None)
    if found is None or found.is_complex() or not found.ndim:
        return (), ""
    values = found[0].detach().float().cpu()
    row = tuple(values.flatten()[:MAX_SHOWN_INPUTS].tolist())
    return row, thumbnail(wide(values).numpy()) if values.ndim == 3 else ""
