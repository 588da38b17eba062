"""The row of one check for one training."""

from __future__ import annotations

from typing import Any

from torch import nn

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult


def result_of(
    check: str, model: nn.Module, data: Any, loss: Any = None, **more: Any
) -> CheckResult:
    """Row of `check`; without `loss`, `more` has a `step_fn`."""
    with nbd.Debugger(model, data, loss, **more) as dbg:
        return dbg.check(check)[check]
