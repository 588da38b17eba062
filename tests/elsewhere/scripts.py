"""Training scripts in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.elsewhere.waiting import until

ROOT = Path(__file__).parents[2]
# A loop of the user's own in the main thread, for so many steps or until the file `stop` is there.
LOOP = """
import os, sys
import torch
from torch import nn
import nbdebug as nbd
from nbdebug.examples.data import blobs
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
X, y = blobs()
model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 4))
sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
loader = DataLoader(TensorDataset(X, y), 16, shuffle=True)
dbg = nbd.watch(model, sgd, name="run", runs=None, serve={serve})
steps = 0
{begin}
for epoch in dbg.epochs({epochs}):
    for x, t in dbg.batches(loader):
        sgd.zero_grad()
        loss = nn.functional.cross_entropy(model(x), t)
        {more}
        loss.backward()
        sgd.step()
        if os.path.exists("stop"):
            sys.exit(0)
torch.save(model.state_dict(), "weights.pt")
"""


def loop(serve: object = True, epochs: int = 10**6, more: str = "pass", begin: str = "pass") -> str:
    """Source of a script; `begin` runs before the loop, `more` in each of its steps."""
    return LOOP.format(serve=serve, epochs=epochs, more=more, begin=begin)


@contextmanager
def child(source: str, folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a process of its own, which is killed at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    program = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(
        program, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end of a program; return its output and its errors."""
    return process.communicate(timeout=240)


def killed(process: subprocess.Popen[str]) -> None:
    """Kill a program as kill -9 does, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.wait(30)


def listening(process: subprocess.Popen[str]) -> None:
    """Wait until a program listens."""
    from nbdebug.elsewhere.registry import entries

    def there() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        return any(entry.process == process.pid for entry in entries())

    until(there)
