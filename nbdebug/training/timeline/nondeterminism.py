"""Search for the cause of nondeterminism."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.model.module.forward import leaves
from nbdebug.model.module.hooks import after_forward
from nbdebug.model.module.names import every_module
from nbdebug.model.nonfinite import eager
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.model_state import undisturbed
from nbdebug.training.data.batch import Batch, draw_step
from nbdebug.training.engine.session import Session

IN_LOOP = (
    "The loop uses something that does not go back with the training: a variable of a function, a "
    "clock, a file. Keep it in a tensor or an object, name it in "
    "nbd.watch(state={'name': object}), and draw random numbers from the global generators."
)

RECURRENT = (
    "cuDNN draws the dropout of {} on a GPU from numbers of its own, which cannot be set back. For "
    "reruns to the bit set its dropout to 0, or torch.backends.cudnn.enabled = False."
)


def find_nondeterminism(session: Session) -> str:
    """Find the likely reason why a rerun step differs, as text.

    The next batch is drawn and run through model and loss twice, from the same random numbers.
    Training does not change.
    """
    if session.body is not None:
        return _drawn_by_cudnn(session.model) or IN_LOOP
    sampler, rng = session.sampler, session.rng
    position, numbers = sampler.position(), rng.position()
    try:
        batch = draw_step(sampler, session.batching)
        sampler.seek(position)
        again = draw_step(sampler, session.batching)
        if not bitwise_equal(list(leaves(batch.data)), list(leaves(again.data))):
            return (
                "The data changes when it is read again: draw its random numbers from the global "
                "generators of torch, numpy or random, not from one seeded by the clock."
            )
        first, second = (_outputs(session, batch) for _ in range(2))
    except BaseException as error:
        raise_interrupt(error)
        return f"The cause could not be found: {describe_error(error)}"
    finally:
        sampler.seek(position)
        rng.seek(numbers)
    for (name, kind, one), (_, _, other) in zip(first, second, strict=False):
        if not bitwise_equal(one, other):
            return (
                f"{name} ({kind}) has two different outputs for the same input: the module draws "
                "from its own random generator, or runs an operation that is nondeterministic on "
                f"{session.device.type} (see torch.use_deterministic_algorithms)."
            )
    return (
        "The forward pass is reproducible now: something outside training was changed (the model, "
        "the data, the number of threads), or the backward pass is nondeterministic on "
        f"{session.device.type}."
    )


def _drawn_by_cudnn(model: nn.Module) -> str:
    """Name the layers whose random numbers cuDNN keeps; "" without any."""
    names = [
        f"{name or 'the model'} ({type(module).__name__})"
        for name, module in every_module(model)
        if isinstance(module, nn.RNNBase)
        and module.dropout > 0
        and module.num_layers > 1
        and any(parameter.is_cuda for parameter in module.parameters())
    ]
    return RECURRENT.format(", ".join(names[:3])) if names and torch.backends.cudnn.enabled else ""


def _outputs(session: Session, batch: Batch) -> list[tuple[str, str, Any]]:
    """Return the outputs of all modules and the loss, from the current random state."""
    found: list[tuple[str, str, Any]] = []
    numbers = session.rng.position()
    hooks = [
        after_forward(module, _note(found, name or "model", type(module).__name__))
        for name, module in every_module(session.model)
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with undisturbed(session.model, session.surroundings), session.rng, eager(session.model):
            for part in batch.each:
                loss = session.evaluate(part.to(session.device).data)[0]
                found.append(("the loss", session.loss_name, loss.detach().clone()))
    finally:
        for hook in hooks:
            hook.remove()
        session.rng.seek(numbers)
    return found


def _note(found: list[tuple[str, str, Any]], name: str, kind: str) -> Any:
    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        tensors = [t.detach().clone() for t in leaves(output) if isinstance(t, torch.Tensor)]
        found.append((name, kind, tensors))

    return hook
