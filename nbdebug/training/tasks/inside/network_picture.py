"""Picture of the network of a training, made of one of the fixed samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from nbdebug.core.commands.inside import LookInside
from nbdebug.core.results.inside.network_picture import NO_FIXED, NetworkPicture, Show
from nbdebug.core.results.inside.part_values import PartValues
from nbdebug.core.results.inside.structure import Structure
from nbdebug.model.module.forward import checked, leaves
from nbdebug.model.module.names import stable_name
from nbdebug.model.structure.recorder import RecordedPart, Recorder
from nbdebug.probes.update_ratio import MeasuredUpdate
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.inside.details.part_detail import part_detail
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples
from nbdebug.training.tasks.inside.looking import looking
from nbdebug.training.tasks.inside.structure import recorded
from nbdebug.training.tasks.inside.updates import part_updates, relative_update
from nbdebug.training.tasks.inside.values import part_values
from nbdebug.training.timeline.checkpoint import Checkpoint

NO_LOSS = (
    "The loss of a single sample is unknown: gradients need data that Debugger reads, and a loss "
    "or step_fn that it can call."
)

NO_UPDATE = (
    "No update was measured yet, or it was forgotten by a rewind, a fork or a reset: make some "
    "steps. FSDP, a probe that is switched off, and a step that was not completed have none."
)


def network_picture(
    session: Session,
    samples: FixedSamples,
    command: LookInside,
    first: Callable[[], Checkpoint],
    single: FixedSamples | None = None,
    update: MeasuredUpdate | None = None,
) -> NetworkPicture:
    """Look at the model with one sample; weights, modes and random numbers stay as they are.

    Args:
        samples: the fixed ones; single: another sample that is looked at, None for a fixed one.
        first: returns the checkpoint that the timeline begins with.
        update: the one that was measured last, None unless updates are shown.

    Raises:
        DataError: there is no such sample.
    """
    show, part = command.show, command.part
    shown, sample = (samples, command.sample) if single is None else (single, 0)
    with looking(session):
        one, (structure, recorder, found) = _recorded(session, shown, sample, (show, part))
        values, reason = (
            _updates(session, recorder, update)
            if show == "updates"
            else _values(recorder, found, one.count, show)
        )
        chosen = next((p for p in recorder.parts if stable_name(p.name) == part), None)
        detail = None
        if chosen is not None:
            tensor = _tensor(session, chosen, show, update)
            detail = part_detail(session, recorder, chosen, samples, first, tensor)
    return NetworkPicture(
        session.step, structure, sample if single is None else NO_FIXED, samples.count,
        shown.origin,
        one.indices[0] if one.indices is not None and len(one.indices) == 1 else None,
        _target(one), show, values, _inputs(one), reason, detail,
        None if update is None else update.step,
    )  # fmt: skip


def _recorded(
    session: Session, samples: FixedSamples, sample: int, wanted: tuple[Show, str]
) -> tuple[FixedSamples, tuple[Structure, Recorder, Any]]:
    """Record a call with one sample; with all where a single one cannot be taken out."""
    show, part = wanted
    one = samples.only(sample)
    found = recorded(session, one.count, partial(_call, session, one.fresh, show), part)
    if found[0].error is not None and one.count < samples.count:
        # Rows may belong together, as the nodes of a graph do.
        whole = partial(_call, session, samples.fresh, show)
        again = recorded(session, samples.count, whole, part)
        if again[0].error is None:
            return replace(samples, cut=False, indices=None), again
    return one, found


def _call(session: Session, one: FixedSamples, show: Show) -> torch.Tensor | None:
    """Call the model; with its loss where gradients are to be shown and it is known."""
    if (show == "gradients" and one.batch is not None) or not one.whole:
        return checked(session.evaluate(one.batch)[0], session.loss_name)
    args, named = one.arguments
    session.model(*args, **named)
    return None


def _values(
    recorder: Recorder, loss: torch.Tensor | None, samples: int, show: Show
) -> tuple[Mapping[str, PartValues], str]:
    if show == "gradients":
        if loss is None:
            return {}, NO_LOSS
        if not loss.requires_grad:
            return {}, "The loss does not depend on any trainable parameter."
        loss.sum().backward()
    found = {
        stable_name(part.name): part.output if show == "activations" else part.gradient
        for part in recorder.parts
    }
    return {n: part_values(one, samples) for n, one in found.items() if one is not None}, ""


def _tensor(
    session: Session, part: RecordedPart, show: Show, update: MeasuredUpdate | None
) -> torch.Tensor | None:
    """Values of a part that details are made of."""
    if show == "activations":
        return part.output
    if show == "gradients":
        return part.gradient
    return None if update is None else relative_update(session.parameters, part, update)


def _updates(
    session: Session, recorder: Recorder, update: MeasuredUpdate | None
) -> tuple[Mapping[str, PartValues], str]:
    if update is None:
        return {}, NO_UPDATE
    return part_updates(session.parameters, recorder.parts, update), ""


def _inputs(one: FixedSamples) -> PartValues | None:
    given = one.arguments if one.whole else one.batch
    tensors = [leaf for leaf in leaves(given) if isinstance(leaf, torch.Tensor)]
    return part_values(tensors[0], one.count) if tensors else None


def _target(one: FixedSamples) -> Any:
    """The target of the sample as a number, where it is one."""
    targets = one.targets
    if isinstance(targets, torch.Tensor) and targets.numel() == 1:
        return targets.item()
    return None
