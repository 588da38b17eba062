"""`python -m nbdebug`, for people without a notebook."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.command_line.main import main
from nbdebug.core.commands.running import Pause
from tests.elsewhere.others import Other
from tests.problems import blobs, tiny_mlp

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), name="run", serve=True, runs=None, lr=0.1
    ) as made:
        made.run(steps=5)
        yield made


def said(capsys: Captured, *arguments: str) -> str:
    assert main(arguments) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: Captured, *arguments: str) -> str:
    """The one sentence of an error."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


def test_list_has_a_line_for_each(dbg: nbd.Debugger, capsys: Captured) -> None:
    (line,) = said(capsys, "list").splitlines()
    assert line.startswith("run  process ")
    dbg.close()
    assert said(capsys, "list").startswith("Nothing listens. A script listens with serve=True")


def test_show_tells_state_loss_controls_and_findings(dbg: nbd.Debugger, capsys: Captured) -> None:
    lines = said(capsys, "show", "run").splitlines()
    loss = dbg.history.last("loss")
    assert lines[0] == f"run: paused at step 5, epoch {dbg.session.epoch:.2f}, loss {loss:.4g}"
    assert "  lr = 0.1" in lines
    assert lines[-1].endswith("judge by yet.") or "finding" in "".join(lines)


def test_set_is_in_force_when_it_returns(dbg: nbd.Debugger, capsys: Captured) -> None:
    out = said(capsys, "set", "run", "lr=1e-3", "optimizer=sgd", "--why", "too fast")
    assert out == "lr = 0.001, optimizer = 'sgd'\n"
    assert (dbg.controls["lr"], dbg.controls["optimizer"]) == (1e-3, "sgd")
    assert [(c.who, c.why) for c in dbg.history.changes] == [("command line", "too fast")] * 2


def test_pause_and_run(dbg: nbd.Debugger, capsys: Captured) -> None:
    assert said(capsys, "run", "run").startswith("run: running at step ")
    assert dbg.state == "running"
    assert said(capsys, "pause", "run").startswith("run: paused at step ")
    assert dbg.state == "paused"


def test_findings_as_text_and_for_programs(dbg: nbd.Debugger, capsys: Captured) -> None:
    found = json.loads(said(capsys, "findings", "run", "--json"))
    assert found == dbg.findings.to_dict()
    assert said(capsys, "findings", "run") == f"{dbg.findings}\n"


def test_report_writes_a_page(dbg: nbd.Debugger, capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    assert said(capsys, "report", "run", str(path)) == f"{path}\n"
    assert "<html" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "other"], "No training 'other' listens here; listening: 'run' in process"),
        (["show", "run", "--process", "1"], "No training 'run' of process 1 listens"),
        (["set", "run", "lr=-1"], "lr must be"),
        (["set", "run", "lrr=1"], "Did you mean"),
        (["set", "run", "lr"], "'lr' is no setting: write it as lr=1e-3"),
        (["set", "run", "lr=fast"], "lr must be"),
        (["set", "run"], "required: CONTROL=VALUE"),
        (["report", "run", "/"], "could not be written"),
        (["sing", "run"], "invalid choice: 'sing'"),
        ([], "required: command"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(
    dbg: nbd.Debugger, capsys: Captured, arguments: list[str], words: str
) -> None:
    assert words in refused(capsys, *arguments)
    assert dbg.history.changes == ()


def test_it_steers_only_if_nobody_else_does(dbg: nbd.Debugger, capsys: Captured) -> None:
    other = Other("anna.ipynb", 77)
    try:
        other.ask("put", command=Pause())
        assert "anna.ipynb (process 77) steers" in refused(capsys, "set", "run", "lr=0.5")
        assert said(capsys, "set", "run", "lr=0.5", "--take-over") == "lr = 0.5\n"
    finally:
        other.close()


@pytest.mark.slow
def test_as_a_program_list_loads_no_torch() -> None:
    program = (
        "import sys; from nbdebug.command_line.main import main; main(['list']); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "nbdebug", "show", "nothing"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nbdebug: No training 'nothing' listens here")
