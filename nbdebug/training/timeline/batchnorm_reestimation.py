"""Re-estimation of BatchNorm's running statistics from the training data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from nbdebug.core.commands.running import ReestimateBatchNorm
from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.records import ControlChange
from nbdebug.errors import ModelError
from nbdebug.model.batchnorm import reestimate
from nbdebug.model.module.forward import to_device
from nbdebug.training.data.seeding import derived_seed, seeded
from nbdebug.training.data.sources import StreamSource
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.session import Session

MAX_BATCHES = 100


def reestimate_statistics(
    command: ReestimateBatchNorm, session: Session, controls: ControlSet
) -> ControlChange:
    """Re-estimate the statistics of all BatchNorm layers, including frozen ones.

    Returns:
        The recorded change: applied, or refused with the reason.
    """
    norms = session.batch_norms
    frozen = norms.frozen
    old = "freeze" if frozen else "track"
    position = session.rng.position()
    # Draws from NumPy and Python are those of training, and come back with the position.
    session.rng.detect_host_draws()
    try:
        norms.freeze(False)
        with session.rng:
            count = reestimate(session.model, _batches(session), session.evaluate)
    except BaseException as error:
        raise_interrupt(error)
        reason = str(error) if isinstance(error, ModelError) else describe_error(error)
        return controls.write_reestimation(command, old, "refused", reason)
    else:
        note = f"Running statistics are averages over {count} training batches."
        return controls.write_reestimation(command, old, "applied", note)
    finally:
        session.rng.seek(position)
        norms.freeze(frozen)


def _batches(session: Session) -> Iterator[Any]:
    """Yield at most 100 batches in a separate order; the training sampler does not move.

    A short last batch is excluded: its statistics would count as much as those of a full one.
    """
    source = session.source
    size = 1 if source.ready else session.batching.size
    if isinstance(source, StreamSource):
        raise ModelError("The data is a stream: reading from it would take samples from training.")
    order = torch.randperm(source.length, generator=torch.Generator().manual_seed(session.step))
    sample_edits = session.batching.sample_edits
    if sample_edits.excluded:
        order = order[sample_edits.kept(order)]
    parts = order.split(size)
    whole = [indices for indices in parts if len(indices) == size] or list(parts)
    for number, indices in enumerate(whole[:MAX_BATCHES]):
        with seeded(derived_seed(session.seed, session.step + number)):
            data = sample_edits.applied(source.fetch(indices), indices)
        yield to_device(data, session.device)
