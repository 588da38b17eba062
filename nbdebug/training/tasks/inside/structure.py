"""Structure of the model of a training, recorded on one fixed sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.core.results.inside.structure import Part, Structure
from nbdebug.model.module.names import stable_name
from nbdebug.model.structure.recorder import RecordedPart, Recorder
from nbdebug.training.engine.session import Session


def recorded(
    session: Session, samples: int, run: Callable[[], Any], watched: str = ""
) -> tuple[Structure, Recorder, Any]:
    """Record the model while it is called; an error of the model is in the structure.

    Args:
        samples: number of samples in the call; run: calls the model.
        watched: name of a part whose arguments are kept.

    Returns:
        The structure, its recorder with the tensors, and what `run` returned, None after an error.
    """
    wait = partial(torch.cuda.synchronize, session.device)
    waits = {"synchronize": wait} if session.device.type == "cuda" else {}
    recorder = Recorder(session.model, watched=watched, **waits)
    found = None
    with every_module_called(), torch.enable_grad():
        try:
            with recorder.recording():
                found = run()
        except Exception:
            # The part that raised says it.
            if not any(part.error for part in recorder.parts):
                raise
    return Structure(tuple(_parts(session, recorder)), samples), recorder, found


@contextmanager
def every_module_called() -> Iterator[None]:
    """Let nn.TransformerEncoderLayer call its modules, which it does not do in its fast path."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _parts(session: Session, recorder: Recorder) -> Iterator[Part]:
    counted: set[int] = set()
    for place, part in enumerate(recorder.parts):
        parameters = _uncounted(part, counted)
        yield Part(
            name=stable_name(part.name),
            kind=part.kind,
            inputs=tuple(sorted(part.inputs)),
            shape=None if part.output is None else tuple(part.output.shape),
            parameters=sum(one.numel() for one in parameters),
            trainable=sum(one.numel() for one in parameters if one.requires_grad),
            calls=max(part.calls, 1),
            seconds=part.seconds if part.calls else math.nan,
            module=part.module is not None,
            entry=place in recorder.entries,
            error=part.error,
            given=part.given,
        )


def _uncounted(part: RecordedPart, counted: set[int]) -> list[torch.Tensor]:
    held = [] if part.module is None else list(part.module.parameters())
    loose = [] if part.parameter is None else [part.parameter]
    found = [one for one in (*held, *loose) if id(one) not in counted]
    counted.update(map(id, found))
    return found
