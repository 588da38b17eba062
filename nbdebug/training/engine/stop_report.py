"""What is there to see where training stops before an update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nbdebug.model.module.forward import detached, leaves
from nbdebug.model.nonfinite import first_nonfinite, nonfinite_gradients
from nbdebug.model.state.weights import simple_attributes
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.breakpoints import ALWAYS, Break, Breakpoints, Inspection
from nbdebug.training.engine.session import Session

NAMED = 10
IN_A_ROW = 20


@contextmanager
def attributes_kept(model: nn.Module, armed: bool) -> Iterator[None]:
    """With `armed`, what modules count in plain attributes is put back after a break."""
    kept = [(module, simple_attributes(module)) for module in model.modules()] if armed else []
    try:
        yield
    except Break:
        for module, attributes in kept:
            vars(module).update(attributes)
        raise


def stop_at_breakpoint(
    session: Session, breakpoints: Breakpoints, batch: Batch, found: tuple[float, float]
) -> None:
    """Raise `Break` when a condition holds in the step under way.

    Args:
        found: its loss and gradient norm.
    """
    here = (session.step, session.samples, session.epoch, *found, session.lr, batch.samples)
    condition = breakpoints.hit(dict(zip(ALWAYS, map(float, here), strict=True)))
    if condition is None:
        return
    breakpoints.found = inspect(session, batch, found[0])
    if session.scaler is not None:
        # It takes gradients once between two updates; this one is made later.
        state = session.scaler.state_dict()
        session.scaler.update()
        session.scaler.load_state_dict(state)
    raise Break(condition)


def inspect(session: Session, batch: Batch, loss: float) -> Inspection:
    """The step under way, after its backward pass."""
    return Inspection(
        session.step,
        batch.data,
        batch.indices,
        detached(session.outputs),
        session.targets,
        loss,
        {n: p.grad.detach() for n, p in session.parameters if p.grad is not None},
    )


def explain(session: Session, batch: Batch, loss: float) -> str:
    """Why loss or gradient is not finite: the first module, its range, the samples."""
    if math.isfinite(loss):
        where = nonfinite_gradients(session.model)
        what = f"The gradient of {where or 'a parameter'} is not finite, the loss is {loss:g}."
    else:
        where, span = first_nonfinite(session.model, lambda: session.evaluate(batch.data))
        first = f"first seen in {where}{span}" if where else "it arises in the loss itself"
        what = f"The loss is {loss:g}; {first}."
    return (
        f"{what}{_samples(session, batch)} The update of step {session.step} was not made, the "
        "weights are as before it. Lower the learning rate, clip gradients or look at the data; "
        "the next batch comes next."
    )


def _samples(session: Session, batch: Batch) -> str:
    """Which samples of the batch have a value that is not finite, when not all have."""
    for name, value in (("data", batch.data), ("outputs", session.outputs)):
        bad = torch.zeros(batch.samples, dtype=torch.bool)
        for leaf in leaves(value):
            if isinstance(leaf, torch.Tensor) and _one_row_each(leaf, batch.samples):
                finite = torch.isfinite(leaf.detach()).reshape(len(leaf), -1).all(1)
                bad |= ~finite.cpu()
        count = int(bad.sum())
        if not 0 < count < batch.samples:
            continue
        places = bad.nonzero().flatten()
        ids = places if batch.indices is None else batch.indices[places]
        said = ", ".join(str(int(i)) for i in ids[:NAMED]) + (", ..." if count > NAMED else "")
        what = "place in the batch" if batch.indices is None else "index in the data"
        return f" Of {count} of {batch.samples} samples the {name} are not finite ({what}: {said})."
    return ""


def _one_row_each(tensor: torch.Tensor, samples: int) -> bool:
    return tensor.is_floating_point() and tensor.ndim > 0 and len(tensor) == samples
