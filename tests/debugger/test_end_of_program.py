"""The end of a program while a training runs: it waits for the step, and exits as it would."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
# Steps in which the thread is within torch nearly all of the time.
MODEL = """
import gc, time, torch, nbdebug as nbd
from torch import nn
torch.set_num_threads(1)
model = nn.Sequential(*(nn.Linear(700, 700) for _ in range(4)))
X = torch.randn(2000, 700)
"""
OURS = """
dbg = nbd.Debugger(model, (X, X), nn.MSELoss(), runs=None, batch_size=500)
dbg.start()
"""
LOOP = """
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
dbg = nbd.watch(model, optimizer, runs=None)
def train():
    for epoch in dbg.epochs(1000):
        for x in dbg.batches(torch.utils.data.DataLoader(X, 500)):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
dbg.run(train)
"""
WAIT = "time.sleep(0.3)\n"
PROGRAMS = {
    "held": MODEL + OURS + WAIT,
    "dropped": MODEL + OURS + WAIT + "del dbg; gc.collect()\n",
    "shown and dropped": MODEL + OURS + "dbg.dashboard\n" + WAIT + "del dbg; gc.collect()\n",
    "replaced": MODEL + OURS + WAIT + OURS + WAIT,
    "paused and dropped": MODEL + OURS + WAIT + "dbg.pause()\ndel dbg; gc.collect()\n",
    "a loop": MODEL + LOOP + WAIT,
    "a loop that is dropped": MODEL + LOOP + WAIT + "del dbg; gc.collect()\n",
    "an exception": MODEL + OURS + WAIT + "del dbg; gc.collect(); raise SystemExit(3)\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_ends_as_it_would(name: str) -> None:
    program = PROGRAMS[name] + "print('the end')\n"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    wanted = 3 if "SystemExit" in program else 0
    assert (ended.returncode, ended.stderr) == (wanted, "")
