"""Programs whose loss or step function counts beside the model."""

from __future__ import annotations

import sys
import types
from typing import Any

import torch

import nbdebug as nbd

SETUP = """
import collections, dataclasses, functools, itertools
import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

torch.manual_seed(0)
X = torch.randn(96, 6)
Y = X.sum(1, keepdim=True)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
"""
# Each program defines loss_fn(outputs, targets) or step_fn(model, batch), and told(), which
# returns what it has counted. The loss depends on the count.
CASES = {
    "a global number": """
count = 0

def loss_fn(outputs, targets):
    global count
    count += 1
    return mse_loss(outputs, targets) / (1 + 0.1 * count)

def told():
    return count
""",
    "a global by its text": """
def loss_fn(outputs, targets):
    globals()["clock"] = globals().get("clock", 0) + 1
    return mse_loss(outputs, targets) / (1 + 0.1 * globals()["clock"])

def told():
    return globals().get("clock")
""",
    "a variable of the function around": """
def make():
    average = 1.0
    seen = 0
    def loss_fn(outputs, targets):
        nonlocal average, seen
        loss = mse_loss(outputs, targets)
        scaled = loss / average
        average = 0.9 * average + 0.1 * float(loss.detach())
        seen += len(targets)
        return scaled
    return loss_fn, lambda: (average, seen)

loss_fn, told = make()
""",
    "an attribute of the function": """
def step_fn(m, batch):
    step_fn.calls += 1
    return mse_loss(m(batch[0]), batch[1]) * min(1.0, step_fn.calls / 10)

step_fn.calls = 0

def told():
    return step_fn.calls
""",
    "an object that is called": """
class Annealed:
    def __init__(self):
        self.weight, self.calls, self.history = 1.0, 0, []

    def __call__(self, outputs, targets):
        self.calls += 1
        self.weight *= 0.97
        loss = self.weight * mse_loss(outputs, targets)
        self.history.append(loss.item())
        return loss

loss_fn = Annealed()

def told():
    return loss_fn.weight, loss_fn.calls, loss_fn.history
""",
    "a module whose number is no buffer": """
class Focus(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = 2.0

    def forward(self, outputs, targets):
        self.gamma = max(0.5, self.gamma - 0.05)
        return ((outputs - targets).abs() ** self.gamma).mean()

loss_fn = Focus()

def told():
    return loss_fn.gamma
""",
    "a dict of lists": """
meters = collections.defaultdict(list)

def step_fn(m, batch):
    loss = mse_loss(m(batch[0]), batch[1])
    meters["loss"].append(loss.item())
    return loss * (1 + 1 / len(meters["loss"]))

def told():
    return dict(meters)
""",
    "a window": """
window = collections.deque(maxlen=4)

def step_fn(m, batch):
    loss = mse_loss(m(batch[0]), batch[1])
    window.append(loss.item())
    return loss / (sum(window) / len(window))

def told():
    return list(window)
""",
    "a member of a class": """
class Phase:
    step = 0

    @classmethod
    def weight(cls):
        cls.step += 1
        return 1.0 if cls.step % 3 else 0.5

def loss_fn(outputs, targets):
    return Phase.weight() * mse_loss(outputs, targets)

def told():
    return Phase.step
""",
    "an object with fields": """
@dataclasses.dataclass
class State:
    step: int = 0
    best: float = float("inf")
    phase: str = "warm-up"

state = State()

def step_fn(m, batch):
    state.step += 1
    if state.step > 5:
        state.phase = "main"
    loss = mse_loss(m(batch[0]), batch[1])
    state.best = min(state.best, loss.item())
    return loss * (0.1 if state.phase == "warm-up" else 1.0)

def told():
    return dataclasses.astuple(state)
""",
    "an array": """
counts = np.zeros(3)

def loss_fn(outputs, targets):
    counts[int(counts.sum()) % 3] += 1
    return mse_loss(outputs, targets) * (1 + counts[0] / (1 + counts.sum()))

def told():
    return counts.copy()
""",
    "a default argument": """
def loss_fn(outputs, targets, memory=[]):
    memory.append(float(outputs.detach().mean()))
    return mse_loss(outputs, targets) + 0.01 * abs(memory[-1] - memory[0]) * outputs.mean()

def told():
    return list(loss_fn.__defaults__[0])
""",
    "an iterator that counts": """
steps = itertools.count()

def loss_fn(outputs, targets):
    return mse_loss(outputs, targets) / (1 + 0.1 * next(steps))

def told():
    return repr(steps)
""",
    "a memory of tensors": """
bank = collections.deque(maxlen=3)

def step_fn(m, batch):
    found = m(batch[0])
    pull = sum(((found.mean() - old) ** 2 for old in bank), torch.zeros(()))
    bank.append(found.detach().mean())
    return mse_loss(found, batch[1]) + 0.1 * pull

def told():
    return [float(one) for one in bank]
""",
    "a part of a partial": """
def weighted(state, outputs, targets):
    state["calls"] += 1
    return mse_loss(outputs, targets) / state["calls"] ** 0.5

loss_fn = functools.partial(weighted, {"calls": 0})

def told():
    return dict(loss_fn.args[0])
""",
    "an attribute of a parameter": """
def step_fn(m, batch):
    weight = m[0].weight
    weight.calls = getattr(weight, "calls", 0) + 1
    weight.ema = 0.9 * getattr(weight, "ema", 0.0) + 0.1 * weight.detach()
    return mse_loss(m(batch[0]), batch[1]) / (weight.calls + weight.ema.abs().sum())

def told():
    return vars(model[0].weight)
""",
    "an object that a list gets": """
class Event:
    def __init__(self, number):
        self.number = number

events = []

def loss_fn(outputs, targets):
    events.append(Event(len(events)))
    return mse_loss(outputs, targets) / (1 + 0.1 * events[-1].number)

def told():
    return [one.number for one in events]
""",
    "a table of rows": """
table = np.zeros(3, dtype=[("n", "i8"), ("loss", "f4", (2,)), ("in", [("a", "u1")])])

def loss_fn(outputs, targets):
    loss = mse_loss(outputs, targets)
    table["n"][:2] += 1
    table["loss"][1] += float(loss.detach())
    table["in"]["a"] += 2
    return loss / (1 + 0.1 * float(table["n"][0] + table["loss"].sum() + table["in"]["a"][2]))

def told():
    return table["n"].tolist(), table["loss"].tolist(), table["in"]["a"].tolist()
""",
    "a metric that has no value at first": """
class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.total, self.value, self.parts, self.row = torch.zeros(()), None, None, None

    def update(self, loss):
        self.total = self.total + loss
        self.value = self.total * 0.1
        self.parts = [self.total, 1.0]
        self.row = np.ones(2) if self.row is None else self.row + 1

mean = Mean()

def loss_fn(outputs, targets):
    loss = mse_loss(outputs, targets)
    mean.update(loss.detach())
    return loss / (1 + mean.value + 0.1 * mean.parts[0] + 0.01 * float(mean.row[0]))

def told():
    return mean.total, mean.value, mean.parts, mean.row
""",
    "a frame": """
import pandas

log = pandas.DataFrame({"loss": [1.0]})

def loss_fn(outputs, targets):
    loss = mse_loss(outputs, targets)
    log.loc[len(log)] = [float(loss.detach())]
    return loss / (1 + 0.1 * log["loss"].tail(3).mean())

def told():
    return log["loss"].tolist()
""",
}


class Program:
    """A training by a module of its own, as a notebook has one."""

    def __init__(self, text: str) -> None:
        self.module = types.ModuleType("counting_program")
        self.module.__file__ = "counting_program.py"
        sys.modules["counting_program"] = self.module
        exec(SETUP + text, vars(self.module))

    def __getattr__(self, name: str) -> Any:
        return vars(self.module)[name]

    @property
    def functions(self) -> dict[str, Any]:
        names = ("loss_fn", "step_fn")
        return {name: vars(self.module)[name] for name in names if name in vars(self.module)}

    def debugger(self, **options: Any) -> nbd.Debugger:
        options = {"batch_size": 16, "seed": 0, **options}
        data = (self.X, self.Y)
        return nbd.Debugger(self.model, data, **self.functions, **options)

    def found(self) -> Any:
        """Weights and counts."""
        return [v.clone() for v in self.model.state_dict().values()], self.told()


def bare(text: str, steps: int) -> Any:
    """What a plain loop gives."""
    program = Program(text)
    optimizer = torch.optim.Adam(program.model.parameters(), 1e-3)
    order = torch.Generator().manual_seed(0)
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        left = left if len(left) else torch.randperm(len(program.X), generator=order)
        rows, left = left[:16], left[16:]
        x, y = program.X[rows], program.Y[rows]
        if "step_fn" in program.functions:
            loss = program.step_fn(program.model, (x, y))
        else:
            loss = program.loss_fn(program.model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return program.found()
