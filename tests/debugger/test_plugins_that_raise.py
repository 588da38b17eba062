"""A plug-in that raises anywhere is switched off with a notice; everything else works."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.errors import ControlValueError
from tests.draw import some
from tests.inside import open_view
from tests.problems import blobs, tiny_mlp

PREFIX = """
import torch
from nbdebug.plugins import *
class End(BaseException): ...
class NoWordsError(Exception):
    def __str__(self): raise ValueError
"""
CONTROL = """
class Broken(Control):
    name, label = "broken", "Broken"
    def spec(self, session): {spec}return ControlSpec("broken", "Broken", "float", "None.")
    def read(self, session): {read}return 0.5
    def validate(self, session, value): {validate}return value
    def apply(self, session, value): {apply}return ""
    def series(self, session): {series}return 0.5
"""
PROBE = """
class Broken(Probe):
    name, every, cost = "broken", 1, "cheap"
    def attach(self, session): {attach}
    def begin(self, step): {begin}
    def before_backward(self, step): {before_backward}
    def before_update(self, step): {before_update}
    def forget(self): {forget}
    def cancel(self): {cancel}
    def read(self, step): {read}return {{"broken": 1.0}}
"""
CHECK = """
class Broken(Check):
    "Broken."
    name, title, source, step = "broken", "Broken", "none", 1
    def examine(self, context): {examine}return Outcome("pass", "fine")
    def result(self, *a): {result}return super().result(*a)
"""
RULE = """
class Broken(Rule):
    "Broken."
    name, title, source = "broken", "Broken", "none"
    needs = ("loss",)
    def diagnose(self, snapshot): {diagnose}return None
    def finding(self, symptom): {finding}
    @staticmethod
    def examples(): {examples}
"""
PANEL = """
class Broken(Panel):
    name, tab, title = "broken", "training", "Broken"
    def __init__(self, context): {init}super().__init__(context)
    def build(self): {build}return None
    def update(self, snapshot): {update}
"""
RAISE = "raise {error}; "
KINDS = {
    "controls": (CONTROL, ("spec", "read", "series", "apply", "validate")),
    "probes": (
        PROBE,
        ("attach", "begin", "before_backward", "before_update", "forget", "cancel", "read"),
    ),
    "checks": (CHECK, ("examine", "result")),
    "rules": (RULE, ("diagnose",)),
    "panels": (PANEL, ("init", "build", "update")),
}


def broken(template: str, method: str, error: str) -> str:
    names = [name.split("}")[0] for name in template.replace("{{", "").split("{")[1:]]
    body = {name: RAISE.format(error=error) if name == method else "..." for name in names}
    lines = {name: text if text != "..." else "pass; " for name, text in body.items()}
    return template.format(**lines).replace("pass; \n", "pass\n")


# What plug-ins give that they must not, and what else may be wrong with their class.
GARBAGE = {
    "a probe that gives text": ("probes", "1.0", "'much'"),
    "a probe that gives a complex number": ("probes", "1.0", "torch.ones(1) * 1j"),
    "a probe that gives nothing": ("probes", 'return {{"broken": 1.0}}', ""),
    "a probe with every = 0": ("probes", '"broken", 1,', '"broken", 0,'),
    "a probe without a name": ("probes", "name, every", "_, every"),
    "a check that gives nothing": ("checks", 'return Outcome("pass", "fine")', ""),
    "a check without a title": ("checks", "name, title", "name, _"),
    "a rule that gives text": ("rules", "return None", "return 'sick'"),
    "a rule whose needs are a number": ("rules", '("loss",)', "5"),
    "a panel without a tab": ("panels", "name, tab", "name, _"),
    "a panel whose needs are a number": ("panels", "name, tab", "needs = 5; name, tab"),
    "a control that gives no spec": ("controls", "return ControlSpec(", "("),
    "a control of a strange kind": ("controls", '"float", "None."', '"wave", 3'),
    "a control whose value is an object": ("controls", "read}return 0.5", "read}return object()"),
    "an import that ends the program": ("controls", None, "import sys; sys.exit('no licence')"),
    "an import that raises": ("panels", None, "raise RuntimeError('no licence')"),
    "an import of nothing": ("rules", None, "import nbdebug.gone"),
}


# These are seen where they are: in the row of the check, and under the controls.
QUIET = (
    "a check that gives nothing", "a control whose value is an object",
    "a control of a strange kind",
)  # fmt: skip


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a plug-in of a kind, from its source."""

    def write(kind: str, source: str) -> None:
        info = tmp_path / "broken-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
        points = f"[nbdebug.{kind}]\nbroken = sample_raising:Broken\n"
        (info / "entry_points.txt").write_text(points)
        (tmp_path / "sample_raising.py").write_text(PREFIX + source)
        monkeypatch.syspath_prepend(tmp_path)

    yield write
    sys.modules.pop("sample_raising", None)


def everything_works(with_dashboard: bool) -> list[str]:
    """Use every part of a Debugger; returns the titles and texts of all notices."""
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32, val_data=blobs()
    ) as dbg:
        dbg.run(steps=3)
        if with_dashboard:
            open_view(dbg.dashboard, "training")
            dbg.dashboard.tick()
        dbg.set(lr=0.05)
        known = {row.name for row in dbg.history.results[CheckReport]}
        wanted = {"labels", "broken"} & known
        assert {row.name for row in dbg.check(*wanted)} == wanted
        assert dbg.findings is not None
        dbg.fork(2, lr=0.1)
        dbg.rewind(2)
        dbg.run(steps=2)
        assert dbg.history.status.step == 4
        assert dbg.failure is None
        dbg.set(lr=0.05)
        assert dbg.controls["lr"] == 0.05
        notices = list(dbg.history.notices)
        if with_dashboard:
            notices += dbg.dashboard.pump.failures
        return [f"{notice.title} {notice.text}" for notice in notices]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "method"),
    some([(kind, method) for kind, (_, methods) in KINDS.items() for method in methods], 2),
)
def test_one_that_raises(kind: str, method: str, install: Callable[..., None]) -> None:
    install(kind, broken(KINDS[kind][0], method, "End()"))
    said = everything_works(kind in ("controls", "panels"))
    # A value that nobody sets is not refused, and a check says so in its own row.
    if method not in ("validate", "apply", "examine"):
        assert any("roken" in text for text in said)


@pytest.mark.parametrize("case", GARBAGE)
def test_one_that_does_not_keep_its_contract(case: str, install: Callable[..., None]) -> None:
    kind, old, new = GARBAGE[case]
    template = KINDS[kind][0]
    assert old is None or old in template
    install(kind, new if old is None else broken(template.replace(old, new), "", ""))
    said = everything_works(kind in ("controls", "panels"))
    if case not in QUIET:
        assert any("roken" in text for text in said)


@pytest.mark.parametrize("method", ["validate", "apply"])
def test_a_control_that_raises_refuses_a_value_in_words(
    method: str, install: Callable[..., None]
) -> None:
    install("controls", broken(CONTROL, method, "NoWordsError()"))
    with pytest.raises(ControlValueError, match="broken cannot take this value: the control raise"):
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), broken=1.0)
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as dbg:
        if method == "validate":
            with pytest.raises(ControlValueError, match="NoWordsError"):
                dbg.set(broken=1.0)
        else:
            with pytest.raises(ControlValueError, match="NoWordsError"):
                dbg.set(broken=1.0)
            assert dbg.changes["status"].tolist() == ["refused"]
        dbg.run(steps=2)
