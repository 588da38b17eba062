"""Conversion of checkpoints to and from plain data, which is safe to load from a file."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from nbdebug.core.deprecated import current_settings
from nbdebug.errors import CheckpointError
from nbdebug.model.clipping.settings import NormWindow
from nbdebug.model.initialisation import Overwritten
from nbdebug.model.state.optimizer import OptimizerCopy
from nbdebug.model.state.random_numbers.session_rng import RngPosition
from nbdebug.training.data.passes.held_out import HeldOut
from nbdebug.training.data.samplers import fitting_position, portable_position
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.checkpoint import Checkpoint, Counters
from nbdebug.training.timeline.disk.data import data_to_plain, writes_to_plain
from nbdebug.training.timeline.disk.modules import (
    check_classes,
    classes_of,
    reached_to_plain,
    weights_from_plain,
    weights_to_plain,
)
from nbdebug.training.timeline.disk.optimizers import (
    optimizers_from_plain,
    optimizers_to_plain,
    overwritten_from_plain,
    overwritten_to_plain,
)
from nbdebug.training.timeline.disk.reader import FORMAT_VERSION
from nbdebug.training.timeline.disk.records import decoded, encoded
from nbdebug.training.timeline.disk.rehearsal import rehearse_optimizer
from nbdebug.training.timeline.disk.schedules import schedule_from_plain, schedule_to_plain

Ratios = tuple[int, tuple[float, ...], int, tuple[float, ...]]


def to_plain(checkpoint: Checkpoint, session: Session, name: str = "") -> dict[str, Any]:
    """Convert a checkpoint to plain data, without objects of nbdebug or of the user.

    Raises:
        CheckpointError: a part of the checkpoint has no plain form.
    """
    return {
        "format": FORMAT_VERSION,
        "name": name,
        "seed": session.seed,
        "length": session.source.length,
        **data_to_plain(session),
        **writes_to_plain(checkpoint.batches, session),
        "counters": asdict(checkpoint.counters),
        "classes": classes_of(session.model),
        "weights": weights_to_plain(checkpoint.weights),
        **optimizers_to_plain(checkpoint.optimizers, session),
        "ratios": checkpoint.ratios,
        **schedule_to_plain(checkpoint.schedule, session),
        "overwritten": overwritten_to_plain(
            checkpoint.initialisation, checkpoint.optimizers, session
        ),
        "fallback": checkpoint.fallback,
        "scale": checkpoint.scale,
        "window": list(checkpoint.window.recent),
        "fresh_norms": checkpoint.window.fresh,
        "rng": encoded(checkpoint.rng),
        "position": encoded(portable_position(checkpoint.position, session.sampler)),
        "controls": encoded(checkpoint.controls),
        **reached_to_plain(session.surroundings, checkpoint.surroundings),
        **_held_out_to_plain(checkpoint.held_out, session),
    }


def from_plain(data: Mapping[str, Any], session: Session) -> Checkpoint:
    """Create the checkpoint for a session of the same model and data.

    Raises:
        CheckpointError, ModelError, DataError: the checkpoint belongs to another training.
    """
    if data["length"] != session.source.length:
        raise CheckpointError(
            f"The data had {data['length']} samples, now it has {session.source.length}."
        )
    weights = weights_from_plain(data, session)
    check_classes(data, session.model)
    optimizers = optimizers_from_plain(data, session)
    # Files of 0.1 do not hold it.
    overwritten = overwritten_from_plain(data.get("overwritten"), optimizers, session)
    _rehearse(optimizers, overwritten)
    schedule = schedule_from_plain(data, session)
    ratios = _checked_ratios(data["ratios"], optimizers, len(schedule[0].groups))
    return Checkpoint(
        Counters(**data["counters"]),
        0,
        weights,
        optimizers,
        ratios,
        schedule,
        data["fallback"],
        overwritten,
        _scale(data["scale"], session),
        _window(data),
        _checked_rng(decoded(data["rng"])),
        fitting_position(decoded(data["position"]), session.sampler),
        current_settings(decoded(data["controls"])),
        # Files of 0.1 hold none of these.
        session.surroundings.from_plain(
            data.get("surroundings", {}), data.get("records", {}), session.device
        ),
        0,
        held_out=_held_out(data.get("held_out"), session),
    )


def _held_out_to_plain(held: HeldOut, session: Session) -> dict[str, Any]:
    parts = session.held_out.plain(held)
    return {"held_out": {"parts": encoded(parts)}} if parts else {}


def _held_out(saved: Any, session: Session) -> HeldOut:
    return session.held_out.read([] if saved is None else decoded(saved["parts"]))


def _window(data: Mapping[str, Any]) -> NormWindow:
    window = NormWindow()
    for norm in data["window"]:
        window.add(norm)
    window.fresh = _count(data.get("fresh_norms", 0))
    return window


def _count(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise CheckpointError(f"The checkpoint counts {number!r:.40} steps.")
    return number


def _rehearse(optimizers: Mapping[str, OptimizerCopy], overwritten: Overwritten | None) -> None:
    """Make the next step of each optimizer without the model, see `rehearse_optimizer`."""
    by_mapping = {id(copy.held): copy.state for copy in optimizers.values() if copy.state}
    for copy in optimizers.values():
        rehearse_optimizer(copy, by_mapping.get(id(copy.held)))
        if overwritten is not None and copy.held is overwritten.state:
            rehearse_optimizer(copy, overwritten.optimizer_state)


def _checked_ratios(saved: Any, optimizers: Mapping[str, OptimizerCopy], groups: int) -> Ratios:
    """Refuse rates of other groups than those of the optimizers."""
    leader, ratios, decay_leader, decay_ratios = saved
    counts = {len(copy.groups) for copy in optimizers.values()}
    if {groups, len(ratios), len(decay_ratios)} != counts or max(leader, decay_leader) >= groups:
        raise CheckpointError(
            f"The checkpoint has {len(ratios)} rates for {max(counts)} groups of parameters."
        )
    return leader, tuple(ratios), decay_leader, tuple(decay_ratios)


def _scale(saved: Mapping[str, Any] | None, session: Session) -> dict[str, Any] | None:
    """The state of the scaler, which must be there if it was there."""
    if saved is None:
        return None
    if session.scaler is None:
        raise CheckpointError("The checkpoint has a GradScaler: give the same one as scaler=.")
    known = session.scaler.state_dict()
    if known.keys() != saved.keys() or not saved["scale"] > 0:
        raise CheckpointError("The checkpoint has a GradScaler that is not the one given here.")
    return dict(saved)


def _checked_rng(position: Any) -> RngPosition:
    """Refuse states that the generators do not take."""
    try:
        torch.Generator().set_state(position.cpu)
        random.Random().setstate(position.host[0])
        np.random.RandomState().set_state(position.host[1])
    except Exception as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise CheckpointError(
            f"The random numbers of the checkpoint do not fit: {reason}"
        ) from error
    flags = (position.uses_host, position.detecting)
    if not all(type(flag) is bool for flag in flags) or not isinstance(
        position.cuda, torch.Tensor | None
    ):
        raise CheckpointError("The random numbers of the checkpoint do not fit.")
    checked: RngPosition = position
    return checked
