"""Loops that count in numbers, lists, iterators and objects of their own, as programs."""

SETUP = """
import argparse, array, collections, dataclasses, io, itertools, random, types, typing
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

torch.manual_seed(0)
X = torch.randn(96, 4)
Y = X.sum(1, keepdim=True)
loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

def step(x, y, scale):
    optimizer.zero_grad()
    loss = scale * ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()
"""
# Each program defines loop(epochs, batches), which returns what it has written down. Whatever it
# counts scales the loss, so that other counts give other weights.
CASES = {
    "a number of a function": """
def loop(epochs, batches):
    count = 0
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + 0.1 * count))
            count += 1
    return count
""",
    "an average and a list": """
def loop(epochs, batches):
    average, losses = 1.0, []
    for _ in epochs(3):
        for x, y in batches(loader):
            losses.append(step(x, y, min(1.0, 1 / average)))
            average = 0.9 * average + 0.1 * losses[-1]
    return average, losses
""",
    "a large array": """
def loop(epochs, batches):
    table = np.zeros((256, 9000))
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + 0.1 * table[0, 0]))
            table[0] += 1
    return float(table[0, 0])
""",
    "enumerate": """
def loop(epochs, batches):
    seen = []
    for _ in epochs(3):
        for i, (x, y) in enumerate(batches(loader), start=1):
            seen.append((i, step(x, y, 1 / i)))
    return seen
""",
    "enumerate within a generator of ones own": """
def numbered(source):
    total = 0
    for i, batch in enumerate(source):
        total += i
        yield total, batch

def loop(epochs, batches):
    seen = []
    for _ in epochs(3):
        for total, (x, y) in numbered(batches(loader)):
            seen.append((total, step(x, y, 1 / (1 + total))))
    return seen
""",
    "global": """
count = 0
history = collections.defaultdict(list)

def train(x, y):
    global count
    count += 1
    history["loss"].append(step(x, y, 1 / count))

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            train(x, y)
    return count, dict(history)
""",
    "nonlocal": """
def loop(epochs, batches):
    count, window = 0, collections.deque(maxlen=4)
    def train(x, y):
        nonlocal count
        count += 1
        window.append(step(x, y, 1 / (count + len(window) + sum(window))))
    for _ in epochs(3):
        for x, y in batches(loader):
            train(x, y)
    return count, list(window)
""",
    "a method": """
class Trainer:
    def __init__(self):
        self.step, self.best, self.seen = 0, float("inf"), {}
    def fit(self, epochs, batches):
        for self.epoch in epochs(3):
            self.one_pass(batches(loader))
        return self.step, self.best, self.seen, self.epoch
    def one_pass(self, source):
        for x, y in source:
            loss = step(x, y, 1 / (1 + self.step % 5))
            self.best = min(self.best, loss)
            self.seen[self.step] = loss
            self.step += 1

def loop(epochs, batches):
    return Trainer().fit(epochs, batches)
""",
    "slots": """
class Meter:
    __slots__ = ("sum", "count")
    def __init__(self):
        self.sum, self.count = 0.0, 0
    def update(self, value):
        self.sum += value
        self.count += 1

def loop(epochs, batches):
    meter = Meter()
    for _ in epochs(3):
        for x, y in batches(loader):
            meter.update(step(x, y, 1 / (1 + meter.count + meter.sum)))
    return meter.sum, meter.count
""",
    "a class attribute": """
class Count:
    total = 0
    def next(self):
        type(self).total += 1
        return self.total

def loop(epochs, batches):
    count = Count()
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / count.next())
    return Count.total
""",
    "an attribute of a function": """
def scale():
    scale.calls += 1
    return 1 / scale.calls
scale.calls = 0

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, scale())
    return scale.calls
""",
    "a tuple with names": """
State = collections.namedtuple("State", "step ema")

def loop(epochs, batches):
    state = State(0, 1.0)
    for _ in epochs(3):
        for x, y in batches(loader):
            loss = step(x, y, 1 / (1 + state.step * state.ema))
            state = state._replace(step=state.step + 1, ema=0.5 * state.ema + 0.5 * loss)
    return tuple(state)
""",
    "a dataclass made anew": """
@dataclasses.dataclass(frozen=True)
class State:
    step: int = 0

def loop(epochs, batches):
    state = State()
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + state.step))
            state = State(state.step + 1)
    return state.step
""",
    "a namespace": """
def loop(epochs, batches):
    state, args = types.SimpleNamespace(n=0), argparse.Namespace(scale=1.0)
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, args.scale / (1 + state.n))
            state.n, args.scale = state.n + 1, args.scale * 0.95
    return state.n, args.scale
""",
    "numpy": """
def loop(epochs, batches):
    sums, mean = np.zeros(4), np.float64(0)
    for _ in epochs(3):
        for x, y in batches(loader):
            sums += np.abs(x.numpy()).mean(0)
            mean = mean + sums.mean()
            step(x, y, float(1 / (1 + mean)))
    return sums, float(mean)
""",
    "a set and a counter": """
def loop(epochs, batches):
    met, counts = set(), collections.Counter()
    for _ in epochs(3):
        for x, y in batches(loader):
            met.add(round(float(x[0, 0]), 3))
            counts[len(met)] += 1
            step(x, y, 1 / (1 + len(met) + counts[1]))
    return sorted(met), dict(counts)
""",
    "iterators": """
def loop(epochs, batches):
    rates, ids = iter([1 / n for n in range(1, 99)]), itertools.count(3)
    downwards = iter(range(99, 0, -1))
    used = []
    for _ in epochs(3):
        for x, y in batches(loader):
            used.append((next(ids), next(downwards)))
            step(x, y, next(rates) * used[-1][1] / (99 * used[-1][0]))
    return used
""",
    "a carried state of a function": """
def loop(epochs, batches):
    hidden = torch.zeros(4)
    for _ in epochs(3):
        for x, y in batches(loader):
            hidden = torch.tanh(hidden + x.mean(0))
            step(x + 0.1 * hidden, y, 1.0)
    return hidden.tolist()
""",
    "a table of tensors": """
def loop(epochs, batches):
    table = {"mean": torch.zeros(4), "n": 0}
    for _ in epochs(3):
        for x, y in batches(loader):
            table["n"] += 1
            table["mean"] = table["mean"] + (x.mean(0) - table["mean"]) / table["n"]
            step(x - table["mean"], y, 1.0)
    return table["mean"].tolist(), table["n"]
""",
    "accumulation by a counter": """
def loop(epochs, batches):
    micro, sizes = [], []
    for _ in epochs(3):
        for x, y in batches(loader):
            (((model(x) - y) ** 2).mean() / 2).backward()
            micro.append(float(x.mean()))
            if len(micro) == 2:
                sizes.append(sum(micro))
                micro.clear()
                optimizer.step()
                optimizer.zero_grad()
    return micro, sizes
""",
    "a while loop": """
def loop(epochs, batches):
    count = 0
    for _ in epochs(3):
        source = iter(batches(loader))
        while True:
            batch = next(source, None)
            if batch is None:
                break
            count += 1
            step(*batch, 1 / count)
    return count
""",
    "targets that the loop writes into its data": """
def loop(epochs, batches):
    data = loader.dataset
    for _ in epochs(3):
        for x, y in batches(loader):
            data.tensors[1][:8] *= 0.99
            step(x, y, 1.0)
    return data.tensors[1].tolist()
""",
    "a hook that counts": """
seen = []
def hook(module, inputs, output):
    seen.append(len(seen))
    return output * (1 / (1 + 0.1 * len(seen)))
model[0].register_forward_hook(hook)

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1.0)
    return seen
""",
    "two tensors of one name": """
mean = torch.zeros(())

def slowly(loss):
    global mean
    mean = 0.9 * mean + 0.1 * loss
    return mean

def loop(epochs, batches):
    mean = torch.zeros(())
    for _ in epochs(3):
        for x, y in batches(loader):
            loss = step(x, y, 1 / (1 + float(mean)))
            mean = 0.5 * mean + 0.5 * slowly(loss)
    return float(mean), float(slowly(0.0))
""",
    "a file in memory": """
def loop(epochs, batches):
    text = io.StringIO()
    for _ in epochs(3):
        for x, y in batches(loader):
            text.write(f"{step(x, y, 1 / (1 + text.tell()))}\\n")
    return text.getvalue()
""",
    "numbers between two passes": """
def loop(epochs, batches):
    best, bad = float("inf"), 0
    for epoch in epochs(3):
        total = 0.0
        for x, y in batches(loader):
            total += step(x, y, 1 / (1 + bad + epoch))
        bad = 0 if total < best else bad + 1
        best = min(best, total)
    return best, bad
""",
}  # fmt: skip
REFUSED = {
    "zip": ("zip\\(\\)", """
def loop(epochs, batches):
    for _ in epochs(3):
        for (x, y), n in zip(batches(loader), range(1, 99)):
            step(x, y, 1 / n)
"""),
    "a generator": ("rates, a generator", """
def decays():
    n = 0
    while True:
        n += 1
        yield 1 / n

def loop(epochs, batches):
    rates = decays()
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, next(rates))
"""),
    "a second loader": ("others, a _SingleProcessDataLoaderIter", """
def loop(epochs, batches):
    others = iter(DataLoader(TensorDataset(X.repeat(9, 1), Y.repeat(9, 1)), batch_size=4))
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1.0)
            step(*next(others), 0.1)
"""),
    "a cycle in an object": ("turn, a cycle", """
class Holder:
    def __init__(self):
        self.turn = itertools.cycle([1.0, 0.5, 0.2])

def loop(epochs, batches):
    holder = Holder()
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, next(holder.turn))
"""),
    "next in a for loop": ("next\\(\\) inside of a `for` loop", """
def loop(epochs, batches):
    for _ in epochs(3):
        source = iter(batches(loader))
        for n in range(1, 7):
            x, y = next(source)
            step(x, y, 1 / n)
        next(source, None)
"""),
    "a comprehension": ("comprehension", """
def loop(epochs, batches):
    for epoch in epochs(3):
        [step(x, y, 1 / (1 + epoch)) for x, y in batches(loader)]
"""),
    "two loops in an epoch": ("several loops over batches", """
def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1.0)
        for x, y in batches(loader):
            step(x, y, 0.1)
"""),
}  # fmt: skip
