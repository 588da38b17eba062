"""Start of a fork that tries a remedy."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Finding
from nbdebug.errors import ArgumentError

FORK_STEPS = 200
STEPS_BACK = 50
MAX_STEPS_BACK = 2000
# After NaN or Inf a fork goes on as many times as far as it took to come.
TIMES_AS_FAR, MAX_FORK_STEPS = 5, 2000


def steps_back(snapshot: Snapshot) -> int:
    """Number of steps to go back after a stop: 50, but not beyond the last change of a control.

    A fork does not repeat the changes that were made after its start.
    """
    return min(STEPS_BACK, _steps_since_change(snapshot))


def fork_start(snapshot: Snapshot, finding: Finding) -> int | None:
    """The `start` argument of `Debugger.fork` for a remedy of a finding.

    The fork starts at the current step; after a stop it starts some steps earlier, because the
    very next step would give NaN or Inf again. If the finding damages the weights, the fork
    starts before the damage, but not before the last change and at most 2,000 steps back.
    """
    step, back = snapshot.status.step, 0
    if snapshot.status.failure is not None:
        back = steps_back(snapshot)
    if finding.harms and step - finding.since < MAX_STEPS_BACK:
        back = max(back, min(step - finding.since + 1, _steps_since_change(snapshot), step))
    return -back or None


def fork_steps(snapshot: Snapshot, finding: Finding, start: int | None) -> int:
    """Number of steps of a fork for a remedy of a finding: enough for it to come back."""
    if snapshot.status.failure is None or finding.name != "not_finite":
        return FORK_STEPS
    return min(max(FORK_STEPS, TIMES_AS_FAR * -(start or 0)), MAX_FORK_STEPS)


def chosen_remedy(finding: Finding, which: int | None) -> int:
    """Number of the remedy to try: the first one that sets a control, if none is asked for.

    Raises:
        ArgumentError: there is no such remedy, or it is no value of a control.
    """
    remedies = finding.remedies
    if which is None:
        for number, remedy in enumerate(remedies):
            if remedy.settings:
                return number
        said = "; ".join(remedy.text for remedy in remedies) or "none"
        raise ArgumentError(
            f"No remedy of {finding.name} is a value of a control, so none can be tried: {said}."
        )
    if type(which) is not int or not 0 <= which < len(remedies):
        raise ArgumentError(
            f"{finding.name} has {len(remedies)} remedies, counted from 0; got {which!r:.80}."
        )
    if not remedies[which].settings:
        raise ArgumentError(
            f"{remedies[which].text!r} is not a value of a control: it cannot be tried."
        )
    return which


def _steps_since_change(snapshot: Snapshot) -> int:
    """Number of steps since the last change of a control."""
    done = max((c.step for c in snapshot.changes if c.status == "applied"), default=-1)
    return max(snapshot.status.step - done - 1, 0)
