"""Scripts and notebooks as processes of their own, which come, go and are killed.

Starting one takes seconds: most tests share a script.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.elsewhere.registry import entries
from tests.elsewhere.conftest import runtime_folder
from tests.elsewhere.scripts import child, ended, killed, listening, loop
from tests.elsewhere.waiting import until
from tests.problems import blobs, tiny_mlp

EPOCHS = 12
WAIT = "while not os.path.exists('go'): __import__('time').sleep(0.01)"
pytestmark = [
    pytest.mark.slow,
    # They share a script, and the last one reads what was said to its user in the others.
    pytest.mark.xdist_group("served script"),
    pytest.mark.skipif(os.name != "posix", reason="Sends signals and forks."),
]
# Another dashboard, without the weight of widgets and torch.
NOTEBOOK = """
import sys
from nbdebug.core.commands.running import SetControl
from nbdebug.elsewhere.link import Link
from nbdebug.elsewhere.registry import find
Link(find("run"), "other.ipynb").ask("put", command=SetControl("lr", 0.02))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True, scope="module")
def runtime() -> Iterator[Path]:
    """One runtime folder for all tests of this file."""
    with runtime_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def script(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    folder = tmp_path_factory.mktemp("script")
    with child(loop(), folder) as process:
        listening(process)
        yield Script(process, folder)


class Script:
    """A script that trains, and its folder."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder


def test_a_loop_in_a_script_is_steered_from_here(script: Script) -> None:
    with nbd.attach("run") as far:
        until(lambda: far.session.step > 20)
        far.pause()
        step = far.session.step
        far.set(lr=0.01, why="from here")
        assert far.controls["lr"] == 0.01
        assert far.rewind(step - 10).equal
        far.step(4)
        assert far.session.step == step - 6
        assert repr(far.fork(5, lr=0.1)).count("\n") >= 2
        far.break_when(f"step == {step + 30}")
        far.start()
        assert far.wait(30)
        assert far.failure is not None
        assert far.failure.kind == "breakpoint"
        far.clear_breakpoints()
        far.start()
        until(lambda: far.session.step > step + 40)
        assert far.findings.judged
    assert script.process.poll() is None
    with nbd.attach("run") as again:
        assert again.session.step > step + 40
        until(lambda: again.state == "running")


def test_a_notebook_that_is_killed_leaves_a_training_that_goes_on_and_says_so(
    script: Script,
) -> None:
    with child(NOTEBOOK, script.folder) as notebook:
        assert notebook.stdout is not None
        assert notebook.stdout.readline() == "ready\n"
        with nbd.attach("run", who="mine") as far:
            with pytest.raises(nbd.SteeringError, match=rf"other.ipynb \(process {notebook.pid}\)"):
                far.set(lr=0.03)
            killed(notebook)
            until(lambda: far.attendance.steers == "")
            step = far.session.step
            until(lambda: far.session.step > step)
            (said,) = (one for one in far.history.notices if "without a word" in one.title)
            assert said.text == "It steered; now nobody does. Training goes on."
            far.set(lr=0.03)
            until(lambda: far.controls["lr"] == 0.03)


def test_a_script_that_is_stopped_answers_again(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdebug.elsewhere.link.SILENT_SECONDS", 0.5)
    monkeypatch.setattr("nbdebug.elsewhere.link.ANSWER_SECONDS", 1.0)
    with nbd.attach("run") as far:
        os.kill(script.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(nbd.LinkError, match="has not answered for 1 seconds"):
                far.set(lr=0.04)
            until(lambda: any("does not answer" in one.title for one in far.history.notices))
        finally:
            os.kill(script.process.pid, signal.SIGCONT)
        until(lambda: any("answers again" in one.title for one in far.history.notices))
        monkeypatch.undo()
        far.set(lr=0.01)
        until(lambda: far.controls["lr"] == 0.01)


def test_an_attached_notebook_that_forks_keeps_its_link(script: Script) -> None:
    with nbd.attach("run") as far:
        child_id = os.fork()
        if not child_id:
            try:
                far.set(lr=0.1)
            except nbd.ClosedError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child_id, 0)[1]) == 7
        far.set(lr=0.02)
        until(lambda: far.controls["lr"] == 0.02)


def test_the_end_of_the_script_is_told(script: Script) -> None:
    with nbd.attach("run") as far:
        (script.folder / "stop").touch()
        until(lambda: far.history.notices[-1].title == "The training has ended")
        assert far.state == "closed"
        assert far.failure is not None
        assert far.failure.title == "The loop has ended"
    _, err = ended(script.process)
    assert script.process.returncode == 0
    assert entries() == []
    # All that was ever said to the user of the script.
    assert err.count("\n") == 1
    assert "other.ipynb (process" in err


def test_served_and_looked_at_it_trains_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = loop(True, epochs=EPOCHS, begin=WAIT)
    with child(source, tmp_path) as process:
        listening(process)
        with nbd.attach("run") as far, nbd.attach("run") as second:
            # Its panels watch probes, some of them on demand.
            far.dashboard.tick()
            (tmp_path / "go").touch()
            second.history.wait_until(lambda status: status.state == "closed", 60)
            assert far.history.status.step > 0
        out, err = ended(process)
        assert (process.returncode, out, err) == (0, "", "")
    served = torch.load(tmp_path / "weights.pt")
    monkeypatch.chdir(tmp_path)
    exec(compile(loop(False, epochs=EPOCHS), "bare.py", "exec"), {"__name__": "bare"})
    bare = torch.load("weights.pt")
    assert bare.keys() == served.keys()
    for name, tensor in bare.items():
        assert torch.equal(tensor, served[name]), name


def test_a_script_that_is_killed_is_told_though_its_forked_workers_live(
    tmp_path: Path, runtime: Path
) -> None:
    """A forked child has copies of all sockets."""
    fork = "os.fork() or __import__('time').sleep(60)"
    with child(loop(more=f"steps += 1; steps == 30 and ({fork})"), tmp_path) as script:
        listening(script)
        with nbd.attach("run") as far:
            until(lambda: far.session.step > 60)
            killed(script)
            until(lambda: far.state == "closed")
            assert far.failure is not None
            assert far.failure.title == "The link to the training is over"
            assert far.failure.text.startswith(f"'run' in process {script.pid} is gone without")
            with pytest.raises(nbd.ClosedError, match=r"is gone .* nbd.attach\('run'\)"):
                far.set(lr=0.1)
            assert len(far.history.frame("loss")) > 5
        assert len(list(runtime.iterdir())) == 2
        with pytest.raises(nbd.LinkError, match="No training 'run' listens here"):
            nbd.attach("run")
        assert list(runtime.iterdir()) == []
    # Another one of the same name begins.
    with (
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), name="run", serve=True, runs=None),
        nbd.attach("run") as again,
    ):
        assert again.state == "paused"


def test_nan_waits_for_who_is_attached_and_else_goes_on(tmp_path: Path) -> None:
    more = (
        "os.path.exists('spoil') and open('met', 'a').write('x'); "
        "loss = loss * float('nan') if os.path.exists('spoil') else loss"
    )
    with child(loop(serve=None, more=more), tmp_path, NBDEBUG_SERVE="1") as script:
        listening(script)
        with nbd.attach(process=script.pid) as far:
            until(lambda: far.session.step > 3)
            (tmp_path / "spoil").touch()
            until(lambda: far.failure is not None)
            assert far.state == "paused"
            (tmp_path / "spoil").unlink()
            far.start()
            step = far.session.step
            until(lambda: far.session.step > step + 3)
        (tmp_path / "met").unlink()
        (tmp_path / "spoil").touch()
        (tmp_path / "seen").touch()
        # The step behind the first NaN: nobody was attached, so it went on.
        until(lambda: (tmp_path / "met").exists() and (tmp_path / "met").stat().st_size > 1)
        (tmp_path / "spoil").unlink()
        with nbd.attach() as far:
            until(lambda: far.history.notices)
            # A NaN that came just then waits for who looks.
            far.start()
        (tmp_path / "stop").touch()
        _, err = ended(script)
        assert script.returncode == 0, err
