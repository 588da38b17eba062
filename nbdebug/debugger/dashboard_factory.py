"""Construction of the dashboard; a module of its own, so that scripts load no widgets."""

from __future__ import annotations

from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.debugger.assembly import Parts
from nbdebug.debugger.client import Client
from nbdebug.debugger.dashboard_api import DashboardApi
from nbdebug.elsewhere.far_queue import FarQueue
from nbdebug.elsewhere.link import Link
from nbdebug.panels.runs import Runs
from nbdebug.runs.store.runs_tab import RunsTabService


def make_dashboard(parts: Parts) -> Dashboard:
    """Build the dashboard of a training."""
    api = DashboardApi(parts.new_client(), parts.history, parts.runs)
    attend = {} if parts.runs is None else {Runs.tab: parts.runs.look_when_due}
    return Dashboard(
        parts.history,
        parts.queue,
        parts.training.controls.states,
        api.ask,
        title=parts.name,
        diagnose=parts.training.diagnosis.look_when_due,
        attend=attend,
        runs=parts.runs,
    )


def make_far_dashboard(
    link: Link, client: Client, queue: FarQueue, runs: RunsTabService | None
) -> Dashboard:
    """Build the dashboard of a training in another process."""
    api = DashboardApi(client, link.history, runs)
    attend = {} if runs is None else {Runs.tab: runs.look_when_due}
    return Dashboard(
        link.history,
        queue,
        lambda: link.states,
        api.ask,
        title=link.name,
        attend=attend,
        runs=runs,
    )
