"""The commands of the command line: each prints what it was asked for."""

from __future__ import annotations

import json
from argparse import Namespace
from ast import literal_eval
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nbdebug.core.contexts import contextmanager
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.undo import value_text
from nbdebug.elsewhere.registry import entries, find
from nbdebug.errors import ArgumentError

if TYPE_CHECKING:
    from nbdebug.debugger.attached.attached import Attached

WHO = "command line"
# Until a command that leaves training running is seen to do so.
STATE_SECONDS = 10.0
NOTHING = (
    "Nothing listens. A script listens with serve=True, or with NBDEBUG_SERVE=1 in its environment."
)


def list_all(_given: Namespace) -> None:
    """Print a line for each training that listens."""
    found = entries()
    if not found:
        print(NOTHING)
    for one in found:
        begun = datetime.fromtimestamp(one.started)
        print(f"{one.name}  process {one.process}, since {begun:%Y-%m-%d %H:%M:%S}, {one.version}")


def show(given: Namespace) -> None:
    """Print state, newest values, controls and findings."""
    with _attached(given) as dbg:
        status, latest = dbg.history.status, dbg.history.snapshot(()).latest
        values = [f"{name} {latest[name]:.4g}" for name in ("loss", "val_loss") if name in latest]
        place = f"{status.state} at step {status.step:,}, epoch {status.epoch:.2f}"
        print(", ".join([f"{dbg.name}: {place}", *values]))
        if status.failure is not None:
            print(f"{status.failure.title}: {status.failure.text}")
        print(f"Attached: {dbg.attendance}")
        for state in _shown(dbg):
            value = value_text(state.value, dict(state.spec.choices))
            print(f"  {state.spec.name} = {value} {state.spec.unit}".rstrip())
        print(dbg.findings)


def _shown(dbg: Attached) -> Iterator[Any]:
    """Controls that can be set and do something now."""
    return (one for one in dbg.control_states if not (one.spec.unavailable or one.spec.idle))


def change(given: Namespace) -> None:
    """Set controls, and wait until they are in force or refused."""
    settings = dict(map(_setting, given.settings))
    with _attached(given) as dbg:
        dbg.set_and_wait(settings, why=given.why)
        print(", ".join(f"{name} = {dbg.controls.get(name)!r}" for name in settings))


def pause(given: Namespace) -> None:
    """Pause after the current step."""
    with _attached(given) as dbg:
        dbg.pause()
        print(f"{dbg.name}: paused at step {dbg.history.status.step:,}")


def go_on(given: Namespace) -> None:
    """Let a paused training run."""
    with _attached(given) as dbg:
        dbg.start()
        dbg.history.wait_until(lambda status: status.state == "running", STATE_SECONDS)
        print(f"{dbg.name}: {dbg.state} at step {dbg.history.status.step:,}")


def findings(given: Namespace) -> None:
    """Print the findings."""
    with _attached(given) as dbg:
        found: Findings = dbg.findings
        print(json.dumps(found.to_dict(), indent=2) if given.json else found)


def report(given: Namespace) -> None:
    """Write the report of the run so far."""
    with _attached(given) as dbg:
        print(dbg.report(given.path))


@contextmanager
def _attached(given: Namespace) -> Iterator[Attached]:
    process = find(given.name, given.process).process
    # Here, since `list` and a wrong name need none of it.
    from nbdebug.debugger.attached.attach import attach

    with attach(given.name, process=process, who=WHO) as dbg:
        if getattr(given, "take_over", False):
            dbg.take_over()
        yield dbg


def _setting(text: str) -> tuple[str, Any]:
    """Name and value of `lr=1e-3`; a value that is no number, list or dict is a text.

    Raises:
        ArgumentError: there is no name or no value.
    """
    name, sign, value = text.partition("=")
    if not (name.strip() and sign and value.strip()):
        raise ArgumentError(f"{text!r:.80} is no setting: write it as lr=1e-3.")
    try:
        return name.strip(), literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return name.strip(), value.strip()
