"""Everything that authors of plug-ins import.

A plug-in is a class in a package with an entry point in one of these groups; nbdebug finds it,
and the dashboard, the help and the contract tests take it from there:

| group | base class | what it adds |
|---|---|---|
| `nbdebug.probes` | `Probe` | a quantity that is measured while training runs |
| `nbdebug.controls` | `Control` | a setting that may change live |
| `nbdebug.checks` | `Check` | a check of the setup, between two steps |
| `nbdebug.rules` | `Rule` | a symptom to look for while training runs |
| `nbdebug.panels` | `Panel` | a plot or a page in the dashboard |
| `nbdebug.exporters` | `Exporter` | a file format for recorded runs |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbdebug.checks._context import CheckContext
    from nbdebug.checks.base import Check
    from nbdebug.controls.base import Control
    from nbdebug.core.control_spec import ControlSpec
    from nbdebug.core.history.snapshot import Snapshot
    from nbdebug.core.results.checks.check_result import Outcome, Proposal
    from nbdebug.core.results.findings import Remedy, Symptom
    from nbdebug.core.series import Series
    from nbdebug.model.training_state import TrainingState
    from nbdebug.panels.base import Panel, PanelContext
    from nbdebug.probes.base import Probe
    from nbdebug.rules._examples import example
    from nbdebug.rules.base import Rule
    from nbdebug.runs.exporters.base import Exporter
    from nbdebug.runs.record.run_record import RunRecord

__all__ = [
    "Check",
    "CheckContext",
    "Control",
    "ControlSpec",
    "Exporter",
    "Outcome",
    "Panel",
    "PanelContext",
    "Probe",
    "Proposal",
    "Remedy",
    "Rule",
    "RunRecord",
    "Series",
    "Snapshot",
    "Symptom",
    "TrainingState",
    "example",
]

_MODULES = {
    "Check": "checks.base",
    "CheckContext": "checks._context",
    "Control": "controls.base",
    "ControlSpec": "core.control_spec",
    "Exporter": "runs.exporters.base",
    "Outcome": "core.results.checks.check_result",
    "Panel": "panels.base",
    "PanelContext": "panels.base",
    "Probe": "probes.base",
    "Proposal": "core.results.checks.check_result",
    "Remedy": "core.results.findings",
    "Rule": "rules.base",
    "RunRecord": "runs.record.run_record",
    "Series": "core.series",
    "Snapshot": "core.history.snapshot",
    "Symptom": "core.results.findings",
    "TrainingState": "model.training_state",
    "example": "rules._examples",
}


def __getattr__(name: str) -> Any:
    # PEP 562: an author of rules needs neither torch nor bokeh.
    if name in _MODULES:
        return getattr(importlib.import_module(f"nbdebug.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'nbdebug.plugins' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
