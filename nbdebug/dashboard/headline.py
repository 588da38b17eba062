"""Line beside the buttons: position of training, time left, loss and metric."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Attendance
from nbdebug.core.results.loops.ranks import RankSpread

MEMORIES = (
    ("memory_mb", "memory", "Memory of the process, without checkpoints"),
    ("gpu_memory_mb", "GPU", "Memory of the tensors on the GPU"),
)
ATTENDANCE_TIP = "Attached from other processes, of which one steers at a time: "
PERCENT_METRICS = ("accuracy", "acc", "top")


def headline(snapshot: Snapshot, title: str = "") -> str:
    """State, position and latest values as HTML, in cells of equal width so that nothing jumps."""
    status, latest = snapshot.status, snapshot.latest
    metric = metric_name(latest)
    cells = [
        ("state", _state(snapshot), _speed(snapshot)),
        ("epoch", f"{status.epoch:.2f}" if status.epoch < 100 else f"{status.epoch:.0f}", ""),
        ("step", _of_goal(snapshot), "Optimizer updates so far, and where the run ends"),
        ("left", time_left(snapshot), "Time until the run ends, at the present speed"),
        ("loss", _number(latest.get("loss"), ".4g"), "Training loss of the latest step"),
        ("val loss", _number(latest.get("val_loss"), ".4g"), "Latest loss on the validation data"),
    ]
    if metric:
        tip = "of the latest training batch"
        cells.append((metric, _metric(metric, latest.get(metric)), f"{metric} {tip}"))
        value = _metric(metric, latest.get(f"val_{metric}"))
        cells.append((f"val {metric}", value, f"{metric} on the validation data"))
    cells += [_memory(latest, *one) for one in MEMORIES if one[0] in latest]
    ranks = snapshot.results.of(RankSpread)
    if ranks is not None:
        cells.append(("ranks", str(ranks.size), _of_ranks(ranks.size, latest)))
    attendance = snapshot.results.of(Attendance)
    if attendance is not None and attendance.names:
        cells.append(("steers", attendance.steerer, ATTENDANCE_TIP + "; ".join(attendance.names)))
    share, label = progress(snapshot)
    visible = "visible" if status.goal else "hidden"
    return (
        f'<div class="nbd-headline" title="{html.escape(title)}">'
        f"{''.join(_cell(*cell) for cell in cells)}</div>"
        f'<progress class="nbd-progress" aria-label="{label}" title="{label}" max="1" '
        f'value="{share:.3f}" style="visibility:{visible}">{label}</progress>'
    )


def _of_ranks(size: int, latest: Mapping[str, float]) -> str:
    each, text = latest.get("batch_size", math.nan), "Processes that train together"
    return (
        text if math.isnan(each) else f"{text}: batch size {each:g} on each, {size * each:g} in all"
    )


def _memory(latest: Mapping[str, float], series: str, name: str, tip: str) -> tuple[str, str, str]:
    return name, f"{latest[series] / 1024:.1f} GB", tip


def _cell(name: str, value: str, tip: str) -> str:
    big = " nbd-big" if "loss" in name or name.startswith("val") else ""
    big = " nbd-extra" if name in ("memory", "GPU") else big
    return (
        f'<span class="nbd-cell{big}" title="{html.escape(tip)}">'
        f"<span>{html.escape(name)}</span><b>{html.escape(value)}</b></span>"
    )


def metric_name(latest: Mapping[str, float]) -> str:
    """The metric of the headline: accuracy, else the first one with validation; "" without one."""
    if "accuracy" in latest:
        return "accuracy"
    pairs = [name[4:] for name in latest if name.startswith("val_") and name != "val_loss"]
    return pairs[0] if pairs else ""


def progress(snapshot: Snapshot) -> tuple[float, str]:
    """Share and text of the progress to the goal if there is one, else through the epoch."""
    status = snapshot.status
    if status.goal:
        share = min(status.step / status.goal, 1.0)
        return share, f"step {status.step:,} of {status.goal:,}"
    share = status.epoch % 1
    return share, f"{share:.0%} of epoch {math.floor(status.epoch) + 1}"


def time_left(snapshot: Snapshot) -> str:
    """Time until the goal at the present speed, "-" without a goal or a speed."""
    status, latest = snapshot.status, snapshot.latest
    took = latest.get("step_ms")
    if not status.goal or status.state != "running" or not took:
        return "-"
    seconds = (status.goal - status.step) * took / 1e3
    if not math.isfinite(seconds):
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _of_goal(snapshot: Snapshot) -> str:
    status = snapshot.status
    return f"{status.step:,}/{status.goal:,}" if status.goal else f"{status.step:,}"


def _state(snapshot: Snapshot) -> str:
    if snapshot.status.failure is not None:
        return "stopped"
    return snapshot.status.state if snapshot.status.step or snapshot.latest else "ready"


def _speed(snapshot: Snapshot) -> str:
    speed = _number(snapshot.latest.get("samples_per_second"), ",.0f")
    share = _number(snapshot.latest.get("measuring_share"), ".1%")
    return f"{speed} samples per second; {share} of the time is spent on measuring"


def _metric(name: str, value: float | None) -> str:
    return _number(value, ".1%" if name.startswith(PERCENT_METRICS) else ".4g")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)
