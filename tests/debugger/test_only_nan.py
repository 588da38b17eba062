"""A training whose batches are all NaN: excluded a while, then stopped, with words for both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.errors import NonFiniteError


def training(**options: Any) -> nbd.Debugger:
    torch.manual_seed(0)
    data = torch.randn(64, 4), torch.randn(64, 1)
    loss = lambda outputs, targets: (outputs - targets).mean() * float("nan")  # noqa: E731
    return nbd.Debugger(nn.Linear(4, 1), data, loss, batch_size=8, runs=None, **options)


@pytest.mark.parametrize(("options", "batches"), [({}, 1), ({"not_finite": "exclude"}, 20)])
def test_the_stop_says_how_many_batches_were_nan(options: dict[str, Any], batches: int) -> None:
    with training(**options) as dbg:
        with pytest.raises(NonFiniteError):
            dbg.run(5)
        failure = dbg.history.status.failure
        assert failure is not None
        assert (f"in {batches} batches one after the other" in failure.title) == (batches > 1)
