"""A child that a loop forks in one of its steps: it is told, and never waits without end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, torch
from torch import nn
import nbdebug as nbd

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
dbg = nbd.watch(model, optimizer, runs=None)
X, y = torch.ones(8, 4), torch.zeros(8, dtype=torch.int64)
child, steps = None, 0

def step():
    global child, steps
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(X), y).backward()
    steps += 1
    if steps == 10:
        child = os.fork()
    optimizer.step()

try:
    if sys.argv[1] == "batches":
        for _ in dbg.batches(range(20)):
            step()
    else:
        for _ in range(20):
            with dbg.step():
                step()
except nbd.ClosedError as error:
    assert not child and "forked copy" in str(error) or "closed" in str(error), error
    os._exit(7 if steps == 10 else 8)
assert child, "the copy went on"
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert dbg.history.status.step == 20 and steps == 20
dbg.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("way", ["batches", "step"])
def test_a_forked_copy_of_a_loop_ends_in_words(way: str) -> None:
    environment = {**os.environ, "NBDEBUG_RUNS": "off", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, way], capture_output=True, text=True, timeout=200,
        env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
