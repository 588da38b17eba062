"""Rows of checks, as a report shows them of a setup with the fault that they look for."""

from __future__ import annotations

import os
import warnings
from functools import cache
from unittest.mock import patch

from nbdebug.core.results.checks.check_result import BAD_STATUSES, CheckResult
from nbdebug.examples import sick_setups


@cache
def found() -> dict[str, tuple[str, CheckResult]]:
    """Name of a sick setup and what the check says of it, by name of the check."""
    rows: dict[str, tuple[str, CheckResult]] = {}
    with patch.dict(os.environ, NBDEBUG_RUNS="off"), warnings.catch_warnings(action="ignore"):
        for name, setup in sick_setups().items():
            if setup.check in rows:
                continue
            with setup.debugger() as dbg:
                row = dbg.check(setup.check)[setup.check]
            if row.status in BAD_STATUSES:
                rows[setup.check] = (name, row)
    return rows
