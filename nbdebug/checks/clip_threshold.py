"""The clip threshold against the norms that occur."""

from __future__ import annotations

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome, Proposal

ENOUGH = 20


class ClipThreshold(Check):
    """How the clip threshold lies among the gradient norms of recent steps.

    Clipping is there for rare large gradients. Where more than half of the steps are
    clipped, it works as a smaller learning rate: lower that instead.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "clip_threshold"
    step = 4
    order = 55
    title = "Clip threshold"
    source = "Google, Deep Learning Tuning Playbook; Seetharaman et al. (2020), AutoClip"

    SHARE = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        clipping = context.subject.clipping
        if clipping.mode == "off":
            return Outcome("not_applicable", "clipping is off.")
        if clipping.mode == "adaptive":
            return Outcome("not_applicable", "adaptive clipping sets its own threshold.")
        if len(clipping.window) < ENOUGH:
            return Outcome("not_applicable", f"fewer than {ENOUGH} steps were trained with it.")
        share, p90 = clipping.window.share_above(clipping.limit), clipping.window.percentile(90)
        seen = f"{share:.0%} of {len(clipping.window):,} steps clipped at {clipping.limit:.3g}"
        expected = f"at most half; the 90th percentile is {p90:.3g}"
        if share > self.SHARE:
            remedy = "Lower the learning rate, or raise the threshold to the 90th percentile."
            proposal = Proposal("clip_threshold", float(f"{p90:.2g}"))
            return Outcome("warning", seen, expected, remedy, proposal)
        return Outcome("pass", seen, expected)
