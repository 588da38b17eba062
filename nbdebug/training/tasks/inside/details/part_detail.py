"""Details of one part of the network, from one sample and from all fixed samples."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch

from nbdebug.core.html.magnitudes import HIGHEST, LOWEST
from nbdebug.core.records import Array
from nbdebug.core.results.inside.part_detail import NO_MAPS, PartDetail
from nbdebug.model.module.names import stable_name
from nbdebug.model.structure.attention import attention_weights
from nbdebug.model.structure.recorder import RecordedPart, Recorder
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.inside.all_outputs import all_outputs
from nbdebug.training.tasks.inside.details.filters import MATRIX_SIDE, with_weights
from nbdebug.training.tasks.inside.details.units import UnitStatistics, with_units
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples
from nbdebug.training.tasks.inside.values import as_array, thinned
from nbdebug.training.timeline.checkpoint import Checkpoint

MAX_MAPS, MAP_SIDE = 64, 32
MAX_HEADS, BINS = 16, 40


def part_detail(
    session: Session,
    recorder: Recorder,
    part: RecordedPart,
    samples: FixedSamples,
    first: Callable[[], Checkpoint],
    shown: torch.Tensor | None,
) -> PartDetail:
    """Look closer at a part that was recorded; called while the model is looked at.

    Args:
        first: returns the checkpoint that the timeline begins with.
        shown: output of the part, its gradient or its update, None without any.
    """
    values = np.zeros(0)
    maps, dtype = NO_MAPS, ""
    if shown is not None:
        values, dtype = as_array(shown), str(shown.dtype).removeprefix("torch.")
        one = values[0] if values.ndim > 1 and len(values) == 1 else values
        maps = _maps(one)
    half = torch.finfo(torch.float16)
    finite = np.abs(values[np.isfinite(values)])
    counts, edges = np.histogram(values[np.isfinite(values)], BINS) if finite.size else ((), ())
    found = PartDetail(
        stable_name(part.name),
        maps,
        attention=_attention(recorder, part),
        edges=np.asarray(edges, dtype=np.float64),
        counts=np.asarray(counts, dtype=np.float64),
        magnitudes=_magnitudes(finite),
        dtype=dtype,
        tiny=float(((finite > 0) & (finite < half.tiny)).mean()) if finite.size else 0.0,
        huge=float((finite > half.max).mean()) if finite.size else 0.0,
    )
    units = UnitStatistics(part.module)
    seen = all_outputs(session, part.module, samples, recorder.largest, units)
    found = with_units(found, None if seen is None else as_array(seen.reduced))
    return with_weights(found, session.model, part, first)


def _magnitudes(magnitudes: Array) -> Array:
    """Counts by powers of two of magnitudes that are not 0; those outside count at the ends."""
    exponents = np.floor(np.log2(magnitudes[magnitudes > 0]))
    places = np.clip(exponents, LOWEST, HIGHEST - 1).astype(np.int64) - LOWEST
    return np.bincount(places, minlength=HIGHEST - LOWEST).astype(np.float64)


def _maps(values: Array) -> Array:
    """Channels [K, H, W] of values [C, H, W]; one of a sequence [T, D]."""
    if values.ndim == 2 and min(values.shape) > 1:
        return thinned(values, MATRIX_SIDE, MATRIX_SIDE)[None]
    if values.ndim != 3 or min(values.shape[1:]) < 2:
        return NO_MAPS
    return np.stack([thinned(one, MAP_SIDE, MAP_SIDE) for one in values[:MAX_MAPS]])


def _attention(recorder: Recorder, part: RecordedPart) -> Array:
    if recorder.arguments is None:
        return NO_MAPS
    # What calls the function in a way of its own is not shown.
    with suppress(TypeError, RuntimeError, ValueError):
        weights = attention_weights(part.module, part.kind, *recorder.arguments, MATRIX_SIDE)
        if weights is not None:
            heads = as_array(weights)[:MAX_HEADS]
            return np.stack([thinned(head, MATRIX_SIDE, MATRIX_SIDE) for head in heads])
    return NO_MAPS
