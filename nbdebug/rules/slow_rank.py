"""Detects a rank for which the others wait."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.ranks import RankSpread, Spread
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule

# The others wait for this share of a step at least.
SLOWER, SHARE = 1.5, 0.1


class SlowRank(Rule):
    """One rank takes longer than the others before its gradients are averaged: all wait for it.

    Compared is the time of a step outside of backward pass and update, in which ranks wait for
    each other: that of the slowest rank with the median of all, or with the other of two.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "slow_rank"
    title = "One rank is slower than the others"
    source = "nbdebug; proof: times of the ranks, measured by each"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(RankSpread)
        own = None if found is None else found.of("own_ms")
        step = None if found is None else found.of("step_ms")
        if found is None or own is None or step is None:
            return None
        usual = own.low if found.size == 2 else own.median
        if own.high < SLOWER * usual or own.high - usual < SHARE * step.median:
            return None
        loader = found.of("loader_ms")
        in_loader = loader is not None and _explains(loader, own, usual)
        where = "in the loader" if in_loader else "outside of the loader"
        times = f"{own.high / usual:.1f} times slower" if usual > 0 else "slower"
        seen = (
            f"Rank {own.rank} is {times}, {where}: {own.high:.1f} ms of a step beside the backward "
            f"pass and the update, others {usual:.1f} ms. All ranks wait for it."
        )
        if in_loader:
            remedies = (
                Remedy("Give its loader more workers, or pin_memory=True"),
                Remedy("Spread long samples evenly over the ranks"),
            )
        else:
            remedies = (
                Remedy("Take logging, printing and saving on this rank out of the step"),
                Remedy("See if another process uses its cores or its device"),
            )
        step_now = snapshot.status.step
        return Symptom(own.high / max(usual, 1e-9), SLOWER, step_now, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        step = Spread("step_ms", 20.0, 20.0, 20.0, 0)
        slow = Spread("own_ms", 8.0, 9.0, 17.0, 2), Spread("loader_ms", 1.0, 1.0, 9.0, 2)
        even = Spread("own_ms", 8.0, 8.5, 9.0, 1), Spread("loader_ms", 1.0, 1.0, 1.2, 0)
        sick = example(loss, [RankSpread(4, (step, *slow))])
        return sick, example(loss, [RankSpread(4, (step, *even))])


def _explains(loader: Spread, own: Spread, usual: float) -> bool:
    """Tell if the slowest rank waits for its loader for most of what it takes longer."""
    return loader.rank == own.rank and loader.high - loader.low > 0.5 * (own.high - usual)
