"""Conversion of checkpoints to and from plain data, which is safe to load from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.deprecated import current_settings
from nbdebug.errors import CheckpointError, NbdebugError
from nbdebug.model.clipping import NormWindow
from nbdebug.model.schedule.builders import ActiveSchedule, ScheduleSpec, ScheduleState
from nbdebug.model.schedule.builders import build as build_scheduler
from nbdebug.model.state.optimizer import OptimizerCopy
from nbdebug.training.data.cached_sampler import CachedPosition
from nbdebug.training.data.index_sampler import IndexPosition
from nbdebug.training.data.stream_sampler import StreamPosition
from nbdebug.training.data.worker_sampler import BatchRequest, WorkerPosition
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.rng import RngPosition
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.checkpoint import Checkpoint, Counters
from nbdebug.training.timeline.file_values import (
    array_from_file,
    attributes_from_file,
    scheduler_state_from_file,
    weights_from_file,
)

FORMAT_VERSION = 1
# Names in files of all versions: they stay when a class is renamed.
RECORD_TYPES: dict[str, type] = {
    "IndexPosition": IndexPosition,
    "WorkerPosition": WorkerPosition,
    "CachedPosition": CachedPosition,
    "StreamPosition": StreamPosition,
    "Drawn": BatchRequest,
    "RngPosition": RngPosition,
}
RECORD_NAMES = {record: name for name, record in RECORD_TYPES.items()}
SCHEDULE_NAMES = {
    lr_scheduler.StepLR: "step",
    lr_scheduler.ExponentialLR: "exponential",
    lr_scheduler.LambdaLR: "inverse_time",
    lr_scheduler.CosineAnnealingLR: "cosine",
    lr_scheduler.CosineAnnealingWarmRestarts: "warm_restarts",
    lr_scheduler.OneCycleLR: "one_cycle",
    lr_scheduler.ReduceLROnPlateau: "plateau",
}


def to_plain(checkpoint: Checkpoint, session: Session) -> dict[str, Any]:
    """Convert a checkpoint to plain data, without objects of nbdebug or of the user.

    Raises:
        CheckpointError: a part of the checkpoint has no plain form.
    """
    names = {p: name for name, p in session.model.named_parameters()}
    # A file holds no change of this boundary that could still be taken back.
    state, own_state, *rest, _ = checkpoint.schedule
    return {
        "format": FORMAT_VERSION,
        "seed": session.seed,
        "length": session.source.length,
        "counters": asdict(checkpoint.counters),
        "weights": {
            "parameters": checkpoint.weights.parameters,
            "requires_grad": checkpoint.weights.requires_grad,
            "buffers": checkpoint.weights.buffers,
            "training": checkpoint.weights.training,
            "attributes": checkpoint.weights.attributes,
        },
        "optimizers": [
            [kind, _optimizer_to_plain(copy, names)] for kind, copy in checkpoint.optimizers.items()
        ],
        "shared": _shared(checkpoint.optimizers),
        "ratios": checkpoint.ratios,
        "schedule": [
            _schedule_to_plain(state, session),
            None if own_state is None else _schedule_to_plain(own_state, session),
            rest,
        ],
        "fallback": checkpoint.fallback,
        "scale": checkpoint.scale,
        "window": list(checkpoint.window.recent),
        "rng": _encoded(checkpoint.rng),
        "position": _encoded(checkpoint.position),
        "controls": _encoded(checkpoint.controls),
    }  # fmt: skip


def restore_plain(data: Mapping[str, Any], loop: Loop, controls: ControlSet) -> None:
    """Continue a training from the plain data of a file.

    Raises:
        CheckpointError, ModelError, DataError: the checkpoint is damaged or of another training.
    """
    try:
        from_plain(data, loop.session).restore(loop, controls)
    except NbdebugError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint is damaged, or of another training ({type(error).__name__}: "
            f"{str(error)[:200]})."
        ) from error


def from_plain(data: Mapping[str, Any], session: Session) -> Checkpoint:
    """Create the checkpoint for a session of the same model and data.

    Raises:
        CheckpointError: the checkpoint belongs to another training.
    """
    weights = weights_from_file(data["weights"], session.model)
    parameters = dict(session.model.named_parameters())
    optimizers = _optimizers_from_plain(data, session, parameters)
    state, own_state, rest = data["schedule"]
    window = NormWindow()
    for norm in data["window"]:
        window.add(norm)
    leader, ratios, decay_leader, decay_ratios = data["ratios"]
    return Checkpoint(
        Counters(**data["counters"]),
        0,
        weights,
        optimizers,
        (leader, tuple(ratios), decay_leader, tuple(decay_ratios)),
        (
            _schedule_from_plain(state, session),
            None if own_state is None else _schedule_from_plain(own_state, session),
            *rest,
            None,
        ),
        data["fallback"],
        None,
        data["scale"],
        window,
        _decoded(data["rng"]),
        _decoded(data["position"]),
        current_settings(data["controls"]),
        0,
    )


def _optimizer_to_plain(copy: OptimizerCopy, names: Mapping[Any, str]) -> dict[str, Any]:
    return {
        "class": type(copy.optimizer).__name__,
        "state": None if copy.state is None else {names[p]: s for p, s in copy.state.items()},
        "groups": [
            {k: [names[p] for p in v] if k == "params" else _encoded(v) for k, v in group.items()}
            for group in copy.groups
        ],
        "attributes": copy.attributes,
    }


def _shared(optimizers: Mapping[str, OptimizerCopy]) -> list[list[str]]:
    """Group the optimizer kinds that share their optimizer state."""
    by_state: dict[int, list[str]] = {}
    for kind, copy in optimizers.items():
        by_state.setdefault(id(copy.held), []).append(kind)
    return list(by_state.values())


def _optimizers_from_plain(
    data: Mapping[str, Any], session: Session, parameters: Mapping[str, Any]
) -> dict[str, OptimizerCopy]:
    found: dict[str, OptimizerCopy] = {}
    held = {kind: shared[0] for shared in data["shared"] for kind in shared}
    mappings: dict[str, dict[Any, Any]] = {}
    for kind, saved in data["optimizers"]:
        optimizer = session.optimizers.made(kind)
        if type(optimizer).__name__ != saved["class"]:
            raise CheckpointError(
                f"The checkpoint has a {saved['class']}, this Debugger a "
                f"{type(optimizer).__name__}: give the same optimizer= as before."
            )
        state = saved["state"]
        found[kind] = OptimizerCopy(
            optimizer,
            mappings.setdefault(held[kind], optimizer.state),
            None if state is None else {parameters[n]: s for n, s in state.items()},
            tuple(
                {
                    key: [parameters[n] for n in value] if key == "params" else _decoded(value)
                    for key, value in group.items()
                }
                for group in saved["groups"]
            ),
            attributes_from_file(saved["attributes"], optimizer),
        )
    return found


def _schedule_to_plain(state: ScheduleState, session: Session) -> dict[str, Any]:
    course = state.course
    main = course.main
    kind = None if main is None else SCHEDULE_NAMES.get(type(main))
    if main is not None and main is session.schedule.own:
        kind = "yours"
    return {
        "plan": asdict(state.plan),
        "length": state.length,
        "main": kind,
        "warm": course.warm is not None,
        "end": course.end,
        "schedulers": [_encoded(one) for one in state.schedulers],
        "groups": [_encoded(group) for group in state.groups],
    }


def _schedule_from_plain(saved: Mapping[str, Any], session: Session) -> ScheduleState:
    """Create a state with new schedulers; `ScheduleState.write` sets their values."""
    optimizer, length = session.optimizer, max(saved["length"], 1)
    options = [dict(group) for group in optimizer.param_groups]
    main: LRScheduler | None = None
    if saved["main"] == "yours":
        main = session.schedule.own
        if main is None:
            raise CheckpointError(
                "The checkpoint has a schedule of your own: give the same one as schedule=."
            )
    elif saved["main"] is not None:
        main = build_scheduler(saved["main"], optimizer, length, saved["plan"]["factor"])
    warm = lr_scheduler.LinearLR(optimizer, total_iters=1) if saved["warm"] else None
    for group, before in zip(optimizer.param_groups, options, strict=True):
        group.clear()
        group.update(before)
    course = ActiveSchedule(warm, main, saved["end"])
    return ScheduleState(
        ScheduleSpec(**saved["plan"]),
        saved["length"],
        course,
        tuple(
            scheduler_state_from_file(_decoded(one), scheduler)
            for one, scheduler in zip(saved["schedulers"], course.schedulers, strict=True)
        ),
        tuple(_decoded(group) for group in saved["groups"]),
    )


def _encoded(value: Any) -> Any:
    """Convert nested containers to numbers, texts and tensors, with records by name."""
    if isinstance(value, torch.Tensor) or type(value) in (int, float, str, bool, type(None)):
        return value
    if isinstance(value, np.ndarray):
        return {"__array__": value.tolist(), "dtype": str(value.dtype)}
    if type(value) in RECORD_NAMES:
        return {
            "__record__": RECORD_NAMES[type(value)],
            "parts": [_encoded(part) for part in value],
        }
    if isinstance(value, Mapping):
        return {key: _encoded(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_encoded(part) for part in value)
    if isinstance(value, list):
        return [_encoded(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    raise CheckpointError(f"A {type(value).__name__} cannot be stored in a checkpoint on disk.")


def _decoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "__array__" in value:
            return array_from_file(value["__array__"], value["dtype"])
        if "__record__" in value:
            return RECORD_TYPES[value["__record__"]](*(_decoded(part) for part in value["parts"]))
        return {key: _decoded(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_decoded(part) for part in value)
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    return value
