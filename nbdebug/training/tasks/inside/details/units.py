"""Units of a part over the fixed samples: dead, saturated and excited ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from nbdebug.core.records import Array
from nbdebug.core.results.inside.part_detail import PartDetail, Unit
from nbdebug.model.precision import wide
from nbdebug.probes._layer_statistics import EDGE_MARGIN, SATURATED_SHARE

MAX_EXCITED, MAX_TOP, MAX_NAMED = 6, 4, 1_000
# Activations with limits: True if the lower one is 0, False if it is -1.
LIMITED: dict[type[nn.Module], bool] = {
    nn.Sigmoid: True, nn.Hardsigmoid: True, nn.Tanh: False, nn.Hardtanh: False, nn.Softsign: False,
}  # fmt: skip


class UnitStatistics:
    """Makes outputs [N, C, ...] of a part, or [N, T, D] of a sequence, to statistics [N, C, 4].

    They are mean, mean magnitude, share of values that are not 0, and share at a limit of the
    activation.
    """

    def __init__(self, module: nn.Module | None) -> None:
        self._from_zero = None if module is None else LIMITED.get(type(module))

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        values = wide(output.abs() if output.is_complex() else output)
        units = values.movedim(-1, 1) if values.ndim == 3 else values
        flat = units.nan_to_num().reshape(*units.shape[:2], -1)
        edge = torch.zeros_like(flat)
        if self._from_zero is not None:
            edge = (2.0 * flat - 1.0 if self._from_zero else flat).abs() > 1.0 - 2.0 * EDGE_MARGIN
        parts = (flat, flat.abs(), flat != 0, edge)
        return torch.stack([part.to(flat.dtype).mean(2) for part in parts], 2)


def with_units(detail: PartDetail, found: Array | None) -> PartDetail:
    """Add what units do, by statistics [N, C, 4] of them; None where they are unknown."""
    if found is None or not found.size:
        return detail
    means = found[..., 0]
    size, active, edge = (found[..., at].mean(axis=0) for at in (1, 2, 3))
    excited = tuple(
        Unit(
            int(unit),
            float(means[:, unit].mean()),
            float(active[unit]),
            tuple(map(int, np.argsort(-means[:, unit], kind="stable")[:MAX_TOP])),
        )
        for unit in np.argsort(-size, kind="stable")[:MAX_EXCITED]
        if size[unit] > 0
    )
    return replace(
        detail,
        units=found.shape[1],
        dead=_named(active == 0.0),
        saturated=_named(edge > SATURATED_SHARE),
        excited=excited,
        samples=len(found),
    )


def _named(which: Array) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(which)[:MAX_NAMED]))
