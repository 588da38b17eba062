"""The Findings tab: findings, root causes first, with remedies to try or to apply."""

from __future__ import annotations

import html

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.html.sparkline import sparkline
from nbdebug.core.records import Progress
from nbdebug.core.results.checks.check_table import STATUS_COLOURS
from nbdebug.core.results.findings import Finding, Findings
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.core.results.worst_samples import WorstSamples
from nbdebug.panels._buttons import choice_button
from nbdebug.panels._remedies import (
    known_values,
    remedy_buttons,
    trial_progress,
    trial_result,
    usable,
    values_text,
)
from nbdebug.panels._sample_table import InForce, sample_rows, samples_button
from nbdebug.panels.base import Panel
from nbdebug.panels.network_picture import PART, PictureOfNetwork

SEVERITY_COLOURS = {"error": STATUS_COLOURS["fail"], "warning": STATUS_COLOURS["warning"]}


class FindingsPanel(Panel):
    """Findings, each with its evidence, cause and remedies."""

    name = "findings"
    tab = "Findings"
    order = 13
    title = "Findings"
    help = "symptoms seen while training; a finding disappears once its symptom is gone"
    height = 320
    wide = True

    def build(self) -> None:
        self._shown: tuple[Findings, bool, Progress | None, ForkResult | None] | None = None
        self._samples: tuple[WorstSamples | None, InForce, bool] | None = None

    def update(self, snapshot: Snapshot) -> None:
        live = snapshot.status.state != "closed"
        self._update_samples(snapshot, live)
        results = snapshot.results
        state = snapshot.findings, live, results.of(Progress), results.of(ForkResult)
        if state == self._shown:
            return
        self._shown = state
        self.context.sink.set_section(self.name, "0", self._page(snapshot, live))

    def _update_samples(self, snapshot: Snapshot, live: bool) -> None:
        in_force = (
            self.context.in_force("excluded_samples") or (),
            self.context.in_force("relabelled") or {},
        )
        found = snapshot.results.of(WorstSamples)
        state = found, in_force, live
        if state != self._samples:
            self._samples = state
            known = {spec.name for spec in self.context.controls if not spec.unavailable}
            rows = sample_rows(found, in_force, known if live else set())
            self.context.sink.set_section(self.name, "1", rows)

    def _page(self, snapshot: Snapshot, live: bool) -> str:
        findings = snapshot.findings
        busy = Progress in snapshot.results
        working = trial_progress(snapshot) if live else ""
        parts = [
            f'<div role="status">{html.escape(_summary(snapshot))}</div>',
            f'<div class="nbd-row">{working}</div>' if working else "",
        ]
        for cause in findings.causes:
            tools = self._tools(cause, snapshot, busy) if live else ""
            parts.append(_finding(cause, findings.explained_by(cause), tools))
        return "".join(parts)

    def _tools(self, finding: Finding, snapshot: Snapshot, busy: bool) -> str:
        rows = []
        known = known_values(self.context)
        labels = {spec.name: spec.label for spec in self.context.controls}
        for remedy in finding.remedies:
            values = values_text(remedy, labels)
            text = html.escape(f"{remedy.text} ({values})" if values else remedy.text)
            made = remedy_buttons(finding, remedy, snapshot, busy) if usable(remedy, known) else ""
            rows.append(f'<div class="nbd-row"><span>{text}</span>{made}</div>')
        result = trial_result(finding, snapshot)
        if result:
            rows.append(f'<div class="nbd-row" role="status">{result}</div>')
        return "".join(rows) + samples_button(finding, busy) + _picture_button(finding)


def _picture_button(finding: Finding) -> str:
    """Button that shows the first layer that a finding blames in the picture of the network."""
    if not finding.layers:
        return ""
    layer, tip = finding.layers[0], "Show what this layer gives for a fixed sample"
    return choice_button(f"Show {layer} in the network", PART, layer, PictureOfNetwork.tab, tip)


def _summary(snapshot: Snapshot) -> str:
    if not snapshot.series and not snapshot.latest and not snapshot.findings.causes:
        return "Nothing to diagnose yet: press Run."
    return snapshot.findings.summary


def _finding(finding: Finding, follow: tuple[Finding, ...], tools: str) -> str:
    colour = SEVERITY_COLOURS[finding.severity]
    head = (
        f'<div role="heading" aria-level="3"><b style="color:{colour}">{finding.severity}</b> '
        f"<b>{html.escape(finding.title)}</b> "
        f'<span class="nbd-help">since step {finding.since:,}</span></div>'
    )
    drawn = sparkline(finding.evidence, f"evidence of: {finding.title}")
    consequences = "".join(
        f"<li>{html.escape(one.title)}: {html.escape(one.seen)}</li>" for one in follow
    )
    folded = (
        f'<details data-key="follow-{finding.name}"><summary>Explains {len(follow)} more'
        f"</summary><ul>{consequences}</ul></details>"
        if follow
        else ""
    )
    return (
        f'<section style="margin:10px 0">{head}<div class="nbd-row">{drawn}'
        f"<span>{html.escape(finding.seen)}</span></div>{tools}{folded}"
        f'<details data-key="why-{finding.name}"><summary>Why it happens</summary>'
        f"{html.escape(finding.why)}<br>Source: {html.escape(finding.source)}</details></section>"
    )
