"""Pictures on the pages of controls, probes and rules: each class draws what it is about.

A rule shows the example in which it must fire, a probe what it measures, a control what changes
when it does. Drawn as the dashboard's own picture, readable on white and on black.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from nbdebug.controls.base import Control
from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.series import Series
from nbdebug.dashboard.still.plots import Plot, draw
from nbdebug.errors import ControlValueError
from nbdebug.probes.base import Probe
from nbdebug.rules.base import Rule
from nbdebug.testing import Problem, Trainer
from tools.site.control_specs import Everything, control_specs, series

MAX_PLOTS = 3
STEPS = 120
# With these values every control has something to act on.
SETTINGS: dict[str, Any] = {
    "optimizer": "adam", "lr": 1e-2, "batch_size": 8, "clip_mode": "norm", "clip_threshold": 0.5,
}  # fmt: skip
# Named in the docstrings of probes as series, with what is behind them.
NAMED = re.compile(r"`(\w+)(?:/<\w+>)?`")
LOGARITHMIC = ("loss", "grad_norm*", "update_ratio/*", "uphill", "lr")


class Picture(NamedTuple):
    """An SVG document and the sentence below it."""

    svg: str
    caption: str


@cache
def picture(plugin: type[Any]) -> Picture | None:
    """The picture of a class; None where no series shows what it is about."""
    found = None
    if issubclass(plugin, Rule):
        found = _of_rule(plugin)
    elif issubclass(plugin, Probe):
        found = _of_probe(plugin)
    elif issubclass(plugin, Control):
        found = _of_control(plugin)
    return found if found is not None and found.svg else None


def _of_rule(rule: type[Rule]) -> Picture | None:
    snapshot = rule.examples()[0]
    symptom = rule().diagnose(snapshot)
    names = _matching(snapshot, (*rule.needs, *rule.wants))
    if symptom is None or not names:
        return None
    blamed = [name for name in names if name.partition("/")[2] in symptom.layers]
    caption = "A made-up training in which it is found"
    if symptom.since:
        caption += f"; it is seen since step {symptom.since}, the dashed line"
    marks = [symptom.since] if symptom.since else []
    drawn = _drawn(_ends_of_each([*blamed, *names]), snapshot, marks)
    return Picture(drawn, f"{caption}.")


def _of_probe(probe: type[Probe]) -> Picture | None:
    snapshot = _measured()
    stems = list(dict.fromkeys(NAMED.findall(inspect.getdoc(probe) or "")))
    names = [name for stem in stems for name in _matching(snapshot, (stem, f"{stem}/*"))]
    if not names:
        return None
    drawn = _drawn(_one_of_each(names), snapshot, [])
    return Picture(drawn, "Measured on a small recurrent network.")


def _of_control(control: type[Control]) -> Picture | None:
    spec = control_specs()[control.name]
    with Trainer.of(Problem(Everything, _series), probes=[], **SETTINGS) as trainer:
        trainer.step(STEPS)
        before = trainer.controls[control.name]
        after = _changed(trainer, spec, before)
        if after is None:
            return None
        trainer.step(STEPS)
        snapshot = trainer.history.snapshot()
    names = _matching(snapshot, ("loss", "grad_norm", control.name))
    said = f"`{control.name}` is set from `{before!r}` to `{after!r}` at step {STEPS}"
    caption = f"A small recurrent network; {said}, the dashed line."
    return Picture(_drawn(names, snapshot, [STEPS]), caption)


def _changed(trainer: Trainer, spec: ControlSpec, now: Any) -> Any:
    """Set a control to another value and return it; None if it takes none of those tried."""
    for value in _others(spec, now):
        try:
            trainer.set(**{spec.name: value})
        except ControlValueError:
            continue
        return value
    return None


def _others(spec: ControlSpec, now: Any) -> list[Any]:
    """Values to try: another choice, or a number well away from the one in force."""
    if spec.kind == "choice":
        return [value for value, _ in reversed(spec.choices) if value != now]
    if spec.kind not in ("float", "int") or not isinstance(now, int | float):
        return []
    if spec.scale == "log":
        high, low = min(now * 10, spec.high), max(now / 10, spec.low)
        middle = math.sqrt(spec.low * spec.high)
        tried: Iterable[float] = (high, low, middle)
    else:
        tried = (spec.low + (spec.high - spec.low) / 2, spec.high, spec.low)
    cast = int if spec.kind == "int" else float
    return [cast(value) for value in tried if cast(value) != now]


def _series() -> tuple[torch.Tensor, torch.Tensor]:
    """Series [255, 5, 4] and the signs of their sums; no batch size in use leaves one over."""
    return series(255)


@cache
def _measured() -> Snapshot:
    """A training with all probes on, each that waits for its tab as well."""
    # Each probe as often as it asks to, whatever that costs.
    given = {**SETTINGS, "clip_mode": "off", "val_data": _series(), "overhead": 1.0}
    problem = Problem(Everything, _series, nn.CrossEntropyLoss())
    with Trainer.of(problem, **given) as trainer:
        trainer.step(2 * STEPS)
        return trainer.history.snapshot()


def _matching(snapshot: Snapshot, patterns: Iterable[str]) -> list[str]:
    """Names of series with values, in the order of the patterns."""
    known = [name for name, one in snapshot.series.items() if len(one)]
    found = [name for pattern in patterns for name in known if fnmatch(name, pattern)]
    return list(dict.fromkeys(found))


def _one_of_each(names: Iterable[str]) -> list[str]:
    """The first series of each group, such as that of one layer."""
    return list({name.partition("/")[0]: name for name in reversed([*names])}.values())[::-1]


def _ends_of_each(names: Iterable[str]) -> list[str]:
    """The first and the last series of each group; those of the first groups come first."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.partition("/")[0], []).append(name)
    return [name for group in groups.values() for name in dict.fromkeys((group[0], group[-1]))]


def _drawn(names: list[str], snapshot: Snapshot, marks: list[int]) -> str:
    plots = []
    for name in names:
        if name.startswith("val_") and name.removeprefix("val_") in names:
            continue
        one: Series = snapshot.series[name]
        log = any(fnmatch(name, pattern) for pattern in LOGARITHMIC)
        plots.append(Plot(name, one, snapshot.series.get(f"val_{name}"), log))
    return draw(plots[:MAX_PLOTS], snapshot, marks)
