"""A loop in a script has nobody who could press Run: NaN does not pause it for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch, nbdebug as nbd
torch.manual_seed(0)
X, model = torch.randn(40, 4), torch.nn.Linear(4, 1)
X[17] = torch.nan
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
loader = torch.utils.data.DataLoader(X, batch_size=4)
dbg = nbd.watch(model, optimizer, runs=None)
def step(x):
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
    scheduler.step()
{loop}
print(dbg.history.status.step, all(p.isfinite().all() for p in model.parameters()))
print([n.title for n in dbg.history.notices])
"""
LOOPS = {
    "batches": "for _ in dbg.epochs(3):\n    for x in dbg.batches(loader):\n        step(x)",
    "steps": "for x in [*loader] * 3:\n    with dbg.step():\n        step(x)",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOOPS)
def test_nan_does_not_pause_a_script(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(loop=LOOPS[kind]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    steps, title = done.stdout.splitlines()
    assert steps == "27 True"
    assert title == "['An update was left out', 'An update was left out', 'An update was left out']"
    assert "nobody can press Run in a script" in done.stderr
