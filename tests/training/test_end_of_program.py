"""A script that ends while its Debugger still trains."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.draw import draw

SCRIPT = """
import torch
from torch import nn
import nbdebug as nbd

X, y = torch.randn(256, 32), torch.randint(0, 2, (256,))
dbg = nbd.Debugger(nn.Sequential(nn.Linear(32, 256), nn.Linear(256, 2)), (X, y),
                   nn.CrossEntropyLoss())
dbg.start()
dbg.history.wait_until(lambda status: status.step > 3)
"""


@pytest.mark.slow
@pytest.mark.soak
def test_it_ends_without_a_crash() -> None:
    for _ in range(draw(2, 30)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
