"""Messages and bytes of a tick, and the time from a slider to the training."""

from __future__ import annotations

import time

from torch.nn.functional import cross_entropy

from benchmarks.table import Row, row
from benchmarks.viewer import dashboard_by_hand, move, show_all, show_first, wired
from benchmarks.workloads import digits, mlp, noise
from nbdebug import Debugger

STEPS_A_TICK = 100


def ticks(quick: bool) -> list[Row]:
    """The largest tick of the first view, and while every tab is visible."""
    rows = []
    for name, model, data in (
        ("digits MLP", mlp(64, 256, 256, 10), digits()),
        ("100-layer MLP", mlp(*[128] * 100, 10), noise(128)()),
    ):
        steps = STEPS_A_TICK if name == "digits MLP" else STEPS_A_TICK // 10
        for seen, show in (("first view", show_first), ("every tab", show_all)):
            with wired() as wire, Debugger(model, data, cross_entropy, val_data=data) as debugger:
                dashboard = dashboard_by_hand(debugger)
                show(dashboard)
                dashboard.tick()
                wire.empty()
                counted = []
                for _ in range(8 if quick else 40):
                    debugger.run(steps=steps)
                    dashboard.tick()
                    counted.append(wire.empty())
            messages = [float(count) for count, _ in counted]
            sizes = [size / 1000 for _, size in counted]
            what = f"{name}, {seen}"
            rows.append(Row(f"{what}: messages a tick, at most", max(messages), 3, "messages"))
            rows.append(Row(f"{what}: size of a tick, at most", max(sizes), 50, "kB"))
    return rows


def latency(quick: bool) -> Row:
    """Time from a slider's message to the applied command, beyond one step."""
    beyond = []
    with wired(), Debugger(mlp(64, 256, 256, 10), digits(), cross_entropy) as debugger:
        dashboard = debugger.dashboard
        show_first(dashboard)
        slider = dashboard.form._widgets["lr"].input
        debugger.start()
        for turn in range(10 if quick else 60):
            # Moments spread over the pump's period.
            time.sleep(0.05 + 0.013 * (turn % 20))
            before = len(debugger.history.changes)
            start = time.perf_counter()
            move(slider, 1e-3 * (2 + turn % 7))
            while len(debugger.history.changes) == before:
                time.sleep(0.0002)
            waited = (time.perf_counter() - start) * 1e3
            beyond.append(waited - debugger.history.last("step_ms"))
        debugger.pause()
    return row("slider's message to applied command, beyond one step", beyond, 50, "ms")
