"""In a script, what a loader raises reaches the loop, as it does without nbdebug."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
import nbdebug as nbd

class Items(Dataset):
    def __init__(self):
        self.reads = 0
    def __len__(self):
        return 40
    def __getitem__(self, place):
        self.reads += 1
        if self.reads in (22, 91):
            raise ValueError("a broken file")
        return torch.full((4,), float(place)) / 40

class Stream(IterableDataset):
    def __init__(self):
        self.items = Items()
    def __iter__(self):
        return (self.items[place] for place in range(40))

def broken(loader):
    for number, x in enumerate(loader):
        if number == 7:
            raise ValueError("a broken file")
        yield x

def trained(kind, watched):
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    items, log = Items(), []
    epochs, batches, dbg = range, iter, None
    if watched:
        dbg = nbd.watch(net, optimizer, runs=None)
        epochs, batches = dbg.epochs, dbg.batches
    for _ in epochs(4):
        source = DataLoader(items, batch_size=4, shuffle=kind == "shuffled")
        if kind == "stream":
            source = DataLoader(Stream(), batch_size=4)
        if kind == "generator":
            source = broken(DataLoader(list(torch.ones(40, 4)), batch_size=4))
        try:
            for x in batches(source):
                optimizer.zero_grad()
                loss = net(x).pow(2).mean()
                loss.backward()
                optimizer.step()
                log.append(loss.item())
        except ValueError as error:
            log.append(str(error))
    if dbg is not None:
        dbg.close()
    return log, net.weight.tolist()

kind = sys.argv[1]
assert trained(kind, True) == trained(kind, False)
assert "a broken file" in trained(kind, True)[0]
print("the same")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "shuffled", "stream", "generator"])
def test_the_loop_goes_on_as_without_nbdebug(tmp_path: Path, kind: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), kind],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == "the same", done.stderr[-2000:]


@pytest.mark.slow
def test_a_fault_of_nbdebug_ends_no_loop_in_silence(tmp_path: Path) -> None:
    """Whatever fails before a step is raised in the loop: a script does not wait for ever."""
    script = tmp_path / "train.py"
    script.write_text(
        "import torch\nfrom torch import nn\nimport nbdebug as nbd\n"
        "from nbdebug.model.state.surroundings import Surroundings\n"
        "net = nn.Linear(4, 1)\n"
        "dbg = nbd.watch(net, torch.optim.SGD(net.parameters(), lr=0.1), runs=None)\n"
        "def fails(*_, **__):\n    raise KeyError('a fault')\n"
        "Surroundings.capture = fails\n"
        "for x in dbg.batches(list(torch.ones(8, 2, 4))):\n    net(x).sum().backward()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "KeyError: 'a fault'" in done.stderr
