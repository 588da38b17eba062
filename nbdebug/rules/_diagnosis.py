"""Evaluates all rules and keeps their findings until the symptoms are gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.names import unknown_name
from nbdebug.core.records import Notice, NoticeKind, Severity
from nbdebug.core.results.findings import SEVERITIES, Finding, Findings, Symptom
from nbdebug.errors import ArgumentError, PluginError
from nbdebug.rules._asked_checks import AGAIN, wanted_checks
from nbdebug.rules._implications import root_of
from nbdebug.rules.base import RECENT_BUCKETS, Rule

MAX_TIME_SHARE = 0.003
# What begins while a model trains is no cause of parameters that never moved.
COMES_LATER = frozenset({"diverging", "gradient_spike"})
MIN_INTERVAL_SECONDS = 1.0
STEPS_UNTIL_GONE = 50
ONE_LOSS = "one loss for all optimizers"


@dataclass
class _Known:
    """A finding and the last step at which its rule fired."""

    finding: Finding
    fired: int


class Diagnosis(Sequence[Rule]):
    """The rules of a training and their current findings.

    Rules run in the thread of the caller; the training thread runs them only for forks. A
    finding stays for 50 steps after its rule fired last, so that findings do not flicker; then a
    notice tells that the symptom is gone.

    Args:
        possible: returns True if this training accepts the given settings and they would change
            something; remedies with other settings are dropped.

    Attributes:
        ask: called with the names of checks that may tell why, once for each of them.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        history: History,
        possible: Callable[[Mapping[str, Any]], bool] = lambda settings: True,
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._history, self._possible = history, possible
        self._known: dict[str, _Known] = {}
        self.ask: Callable[[tuple[str, ...]], object] = lambda names: None
        self._asked: set[str] = set()
        self._looking, self._busy = threading.RLock(), False
        self._step, self._seen = 0, -1
        self._next = self._next_paused = 0.0

    def __getitem__(self, place: int) -> Rule:  # type: ignore[override]
        return tuple(self._rules.values())[place]

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, rule: type[Rule] | Rule) -> None:
        """Add a rule; a rule of the same name is replaced.

        Raises:
            PluginError: the argument is not a rule.
        """
        made = rule() if isinstance(rule, type) else rule
        if not isinstance(made, Rule):
            raise PluginError(
                f"{made!r} is not a rule: derive its class from nbdebug.plugins.Rule."
            )
        with self._looking:
            self._rules[made.name] = made
            self._seen = -1

    def remove(self, name: str) -> None:
        """Remove a rule.

        Raises:
            ArgumentError: there is no rule of this name.
        """
        with self._looking:
            if name not in self._rules:
                raise ArgumentError(unknown_name("rule", name, self._rules))
            self._forget(name)
            self._seen = -1

    def look_when_due(self) -> None:
        """Evaluate the rules at most once a second, using at most 0.3 % of the time of training.

        After a rewind they are evaluated at once: what they found is of steps that are gone.
        """
        status, start = self._history.status, time.monotonic()
        due = self._next if status.state == "running" else self._next_paused
        if start >= due or status.step < self._step:
            self.look()
            end = time.monotonic()
            self._next_paused = end + MIN_INTERVAL_SECONDS
            self._next = end + max(MIN_INTERVAL_SECONDS, (end - start) / MAX_TIME_SHARE)

    def look(self) -> Findings:
        """Evaluate all rules now; the findings are also written to History."""
        with self._looking:
            if self._busy or self._history.version == self._seen:
                # A rule that asks for the findings gets the last ones.
                return self._history.results.of(Findings, Findings())
            snapshot = self._snapshot(self._history)
            step = snapshot.status.step
            if step < self._step:
                # After a rewind, findings belong to discarded steps.
                self._known, self._asked = {}, set()
            self._step = step
            before = set(self._known)
            self._busy = True
            try:
                missing = dict(self._diagnose(snapshot))
            finally:
                self._busy = False
            known = {name: one.finding for name, one in self._known.items()}
            found = Findings(tuple(self._ordered(known)), missing, bool(self._rules))
            for cause in found.causes:
                if cause.name not in before:
                    self._say(snapshot, cause.severity, cause.title, cause.seen, "finding")
            if found != self._history.results.of(Findings):
                self._history.set_result(found)
            self._seen = snapshot.version
            self._ask_why(ordered(known), snapshot)
            return found

    def _ask_why(self, found: Sequence[Finding], snapshot: Snapshot) -> None:
        """Ask for the checks that may tell why there are these findings."""
        wanted = wanted_checks(found, self._rules, snapshot)
        new = tuple(name for name in wanted if name in AGAIN or name not in self._asked)
        if new:
            self._asked.update(new)
            self.ask(new)

    def judge(self, start: int, way: History) -> Findings:
        """Findings of a fork: this training up to step `start`, then another History.

        Rules that raise, or that need series that the fork did not measure, are in `not_judged`.
        """
        # Without the lock: a rule that runs in another thread may wait for the training thread.
        rules = list(self._rules.values())
        past, now = self._snapshot(self._history, start), self._snapshot(way)
        joined = past.continued_with(start, now)
        found, missing = {}, {}
        for rule in rules:
            try:
                lacking = _lacking(rule, joined)
                finding = None if lacking else self._finding(rule, joined)
            except BaseException as error:
                raise_interrupt(error)
                missing[rule.name] = describe_error(error)
                continue
            if lacking:
                missing[rule.name] = ", ".join(lacking)
            elif finding is not None:
                found[rule.name] = finding
        return Findings(tuple(self._ordered(found)), missing)

    def _ordered(self, known: Mapping[str, Finding]) -> list[Finding]:
        """Findings in order, without those that are there only to explain others, but do not."""
        found = ordered(known)
        causes, roots = {one.cause for one in found}, {one.name for one in found if not one.cause}
        idle = {n for n in known if n not in causes and self._rules[n].explains_others}
        idle |= {name for name in roots if self._rules[name].only_explained}
        return ordered({n: one for n, one in known.items() if n not in idle}) if idle else found

    def title(self, name: str) -> str:
        """Title of a rule.

        Raises:
            ArgumentError: there is no rule of this name.
        """
        if not isinstance(name, str) or name not in self._rules:
            raise ArgumentError(unknown_name("rule", name, self._rules))
        return self._rules[name].title

    def _snapshot(self, history: History, before: int | None = None) -> Snapshot:
        wanted = {name for rule in tuple(self._rules.values()) for name in _series_of(rule)}
        whole = {name for name in wanted if "*" not in name}
        return history.snapshot(whole, (wanted - whole, RECENT_BUCKETS), before)

    def _diagnose(self, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
        """Update the findings; yields each rule that was not evaluated, with its missing series."""
        for name, rule in list(self._rules.items()):
            try:
                lacking = _lacking(rule, snapshot)
                finding = None if lacking else self._finding(rule, snapshot)
            except BaseException as error:
                raise_interrupt(error)
                self._forget(name)
                text = f"{describe_error(error)}. All other rules stay active."
                self._say(snapshot, "warning", f"The rule {name} failed and was removed", text)
                continue
            if lacking:
                yield name, ", ".join(lacking)
            elif finding is not None:
                self._take(finding, snapshot.status.step)
            elif name in self._known:
                self._release(snapshot, self._known[name])

    def _finding(self, rule: Rule, snapshot: Snapshot) -> Finding | None:
        """Evaluate a rule; raises whatever it raises."""
        symptom = rule.diagnose(snapshot)
        if symptom is None:
            return None
        if not isinstance(symptom, Symptom):
            raise PluginError(f"diagnose() gave {symptom!r}: expected a Symptom or None")
        remedies = tuple(each for each in symptom.remedies if self._possible(each.settings))
        return rule.finding(replace(symptom, remedies=remedies))

    def _take(self, finding: Finding, step: int) -> None:
        before = self._known.get(finding.name)
        if before is None:
            finding = replace(finding, fired=step)
        else:
            since = min(before.finding.since, finding.since)
            finding = replace(finding, since=since, fired=before.finding.fired)
        self._known[finding.name] = _Known(finding, step)

    def _release(self, snapshot: Snapshot, known: _Known) -> None:
        finding = known.finding
        # A proven fault does not flicker.
        if finding.severity == "error" or snapshot.status.step >= known.fired + STEPS_UNTIL_GONE:
            del self._known[finding.name]
            gone = f"The symptom has not been seen for {STEPS_UNTIL_GONE} steps."
            if finding.severity == "error":
                gone = "The fault is no longer present."
            self._say(snapshot, "info", f"No longer seen: {finding.title}", gone, "finding")

    def _forget(self, name: str) -> None:
        self._rules.pop(name, None)
        self._known.pop(name, None)

    def _say(
        self,
        snapshot: Snapshot,
        severity: Severity,
        title: str,
        text: str,
        kind: NoticeKind = "message",
    ) -> None:
        self._history.add_notice(Notice(snapshot.status.step, severity, title, text, kind=kind))


def ordered(known: Mapping[str, Finding]) -> list[Finding]:
    """Findings sorted with root causes first and errors before warnings, `because` filled in."""
    found = []
    for name, finding in known.items():
        later = {n for n in COMES_LATER if n in known and finding.since < known[n].since}
        root = root_of(name, known if name != "unchanged_parameters" else known.keys() - later)
        title = "" if root == name else known[root].title
        found.append(replace(finding, because=title, cause=root if title else ""))
    return sorted(found, key=lambda f: (bool(f.because), SEVERITIES.index(f.severity)))


def _series_of(rule: Rule) -> tuple[str, ...]:
    """Series that a rule reads; none if it does not say so in texts, which it is removed for."""
    try:
        names = (*rule.needs, *rule.wants)
    except Exception:
        return ()
    return tuple(name for name in names if isinstance(name, str))


def _lacking(rule: Rule, snapshot: Snapshot) -> list[str]:
    """Requirements of a rule that are missing: series, or a loss that is to fall.

    Of what is measured now and then (`dead/*`), only what was measured since the last change of
    a setting tells about the training as it is now.
    """
    if rule.falls and snapshot.losses_differ:
        return [ONE_LOSS]
    present = {name: int(one.step[-1]) for name, one in snapshot.series.items() if len(one)}
    changed = snapshot.changed_at
    missing = []
    for need in rule.needs:
        steps = [step for name, step in present.items() if fnmatchcase(name, need)]
        if not steps:
            missing.append(need)
        elif "*" in need and max(steps) < changed:
            missing.append(f"{need} since step {changed:,}")
    return missing
