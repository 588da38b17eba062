"""Loops that count in places where few people look, as programs; see `counting_loops`."""

ODD = {
    "phases": """
def loop(epochs, batches):
    seen, held_out = [], []
    for n in epochs(3):
        for phase in ["train", "val"]:
            if phase == "train":
                for x, y in batches(loader):
                    seen.append(step(x, y, 1 / (1 + n)))
            else:
                held_out.append(len(seen))
    return seen, held_out
""",
    "a member of an enum": """
import enum

class Phase(enum.Enum):
    WARM, MAIN = 1.0, 0.3

def loop(epochs, batches):
    phase, seen = Phase.WARM, []
    for _ in epochs(3):
        for x, y in batches(loader):
            seen.append(step(x, y, phase.value))
            if len(seen) == 7:
                phase = Phase.MAIN
    return phase.name, seen
""",
    "a function in a variable": """
def whole(loss):
    return loss

def loop(epochs, batches):
    scaled, seen = whole, []
    for _ in epochs(3):
        for x, y in batches(loader):
            seen.append(step(x, y, scaled(1.0)))
            scaled = lambda loss, n=len(seen): loss / n
    return seen
""",
    "fractions and sets": """
import decimal, fractions

def loop(epochs, batches):
    share, exact, seen = fractions.Fraction(1), decimal.Decimal(1), frozenset()
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, float(share) * float(exact) / (1 + 0.1 * len(seen)))
            share *= fractions.Fraction(9, 10)
            exact *= decimal.Decimal("0.99")
            seen = seen | {len(seen)}
    return share, exact, seen
""",
    "a tuple of a number and a tensor": """
class State(typing.NamedTuple):
    number: int
    center: torch.Tensor

def loop(epochs, batches):
    state = State(0, torch.zeros(1))
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + state.number + state.center.abs().sum()))
            state = State(state.number + 1, 0.9 * state.center + 0.1 * y.mean())
    return tuple(state)
""",
    "private slots": """
class Meter:
    __slots__ = ("__total", "late")

    def __init__(self):
        self.__total = 0

    def next(self):
        self.__total += 1
        if self.__total == 8:
            self.late = 3.0
        return self.__total + getattr(self, "late", 0.0)

def loop(epochs, batches):
    meter, seen = Meter(), []
    for _ in epochs(3):
        for x, y in batches(loader):
            seen.append(meter.next())
            step(x, y, 1 / seen[-1])
    return seen
""",
    "elements of a set and keys of a dict": """
class Meter:
    def __init__(self):
        self.total = 0.0

def loop(epochs, batches):
    meters, names = {Meter()}, {Meter(): "loss"}
    for _ in epochs(3):
        for x, y in batches(loader):
            for meter in (*meters, *names):
                meter.total += 1.0
            step(x, y, 1 / max(meter.total for meter in names))
    return [meter.total for meter in (*meters, *names)]
""",
    "an iterator of a module": """
numbers = itertools.count(1)

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / next(numbers))
    return repr(numbers)
""",
    "an iterator in a default argument": """
def scale(numbers=itertools.count(1)):
    return 1 / next(numbers)

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, scale())
    return repr(scale.__defaults__)
""",
    "a dict that numbers its keys": """
def loop(epochs, batches):
    numbers = collections.defaultdict(itertools.count(1).__next__)
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / numbers[float(x[0, 0])])
    return dict(numbers)
""",
    "an array of machine numbers": """
def loop(epochs, batches):
    counts = array.array("d", [1.0])
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / counts[0])
            counts[0] += 1
            counts.append(float(y.sum()))
    return list(counts)
""",
    "memory behind a view": """
def loop(epochs, batches):
    view = memoryview(bytearray(4))
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + view[0]))
            view[0] += 1
    return bytes(view)
""",
    "a queue": """
import queue

def loop(epochs, batches):
    losses = queue.Queue()
    for _ in epochs(3):
        for x, y in batches(loader):
            losses.put(step(x, y, 1 / (1 + losses.qsize())))
            if losses.qsize() > 5:
                losses.get()
    return list(losses.queue)
""",
    "a dict of weak keys": """
import weakref

def loop(epochs, batches):
    calls = weakref.WeakKeyDictionary({model: 1})
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / calls[model])
            calls[model] += 1
    return calls[model]
""",
    "an attribute of a parameter": """
def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            weight = model[0].weight
            weight.calls = getattr(weight, "calls", 0) + 1
            weight.average = 0.9 * getattr(weight, "average", 0.0) + 0.1 * weight.detach()
            step(x, y, 1 / (weight.calls + weight.average.abs().sum()))
    return model[0].weight.calls, model[0].weight.average
""",
    "an object of a library": """
class Agent:
    def __init__(self):
        self.old = torch.distributions.Normal(torch.zeros(1), torch.ones(1))
        self.sobol = torch.quasirandom.SobolEngine(2)

def loop(epochs, batches):
    agent, seen = Agent(), []
    for _ in epochs(3):
        for x, y in batches(loader):
            scale = float(agent.old.mean.abs().sum() + agent.sobol.draw(1).sum())
            seen.append(step(x, y, 1 / (1 + scale)))
            agent.old = torch.distributions.Normal(model(x).detach().mean(), torch.ones(1))
    return seen, agent.old.mean
""",
    "a large batch that is carried on": """
def loop(epochs, batches):
    before, seen = None, []
    for _ in epochs(3):
        for x, y in batches(loader):
            large = x.repeat(1, 20_000)
            pull = 0.0 if before is None else float((large[0, :9] - before[0, :9]).abs().mean())
            seen.append(step(x, y, 1 / (1 + pull)))
            before = large
    return seen
""",
    "the batch before": """
def loop(epochs, batches):
    px = py = None
    for _ in epochs(3):
        for x, y in batches(loader):
            near = 0.0 if px is None else float((x[0] - px[0]).abs().mean() + (py[0] != y[0]).sum())
            px, py = x, y
            step(x, y, 1 / (1 + near))
    return px
""",
    "the large batch before": """
def loop(epochs, batches):
    before = None
    wide = DataLoader(TensorDataset(X.repeat(1, 20_000), Y), batch_size=16)
    for _ in epochs(3):
        for x, y in batches(wide):
            near = 0.0 if before is None else float((x[0, :9] - before[0, :9]).abs().mean())
            before = x
            step(x[:, : X.shape[1]], y, 1 / (1 + near))
""",
    "a large bank": """
def loop(epochs, batches):
    bank, at = torch.zeros(70_000, 64), 0
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + float(bank[:16].mean())))
            bank[at : at + 4] += 1.0
            at = (at + 4) % 16
    return bank[:16].mean(1)
""",
    "many small lists": """
def loop(epochs, batches):
    heap = [[n, 1.0] for n in range(1500)]
    at = 0
    for _ in epochs(3):
        for x, y in batches(loader):
            at = (at * 7 + 3) % 50
            step(x, y, 1 / heap[at][1])
            heap[at][1] += 1.0
    return heap
""",
    "an array of objects": """
def loop(epochs, batches):
    held = np.array([1, None, np.ones(2)], dtype=object)
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (held[0] + held[2][1]))
            held[0] += 1
            held[2][1] += 0.5
    return held.tolist()
""",
    "a function that calls itself": """
def train(epochs, batches, stage):
    count, seen = 10 * stage, []
    if stage:
        seen += train(epochs, batches, stage - 1)
    for _ in (epochs(3) if stage == 0 else ()):
        for x, y in batches(loader):
            seen.append((stage, count, step(x, y, 1 / (1 + count))))
            count += 1
    return [*seen, count, stage]

def loop(epochs, batches):
    return train(epochs, batches, 2)
""",
    "two functions of one decorator": """
def counted(function):
    calls = 0

    def wrapper(*args):
        nonlocal calls
        calls += 1
        return (*function(*args), calls)

    return wrapper

@counted
def outer(epochs, batches):
    return inner(epochs, batches)

@counted
def inner(epochs, batches):
    count = 1
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / count)
            count += 1
    return (count,)

def loop(epochs, batches):
    return outer(epochs, batches)
""",
    "names that come later": """
def rate():
    rate.calls = getattr(rate, "calls", 0) + 1
    return rate.calls

class Phase:
    pass

def loop(epochs, batches):
    global begun
    seen = []
    for _ in epochs(3):
        for x, y in batches(loader):
            try:
                total += 1
            except NameError:
                total = 1
            try:
                begun += 1
            except NameError:
                begun = 1
            Phase.number = getattr(Phase, "number", 0) + 1
            seen.append((total, begun, Phase.number, rate()))
            step(x, y, 1 / sum(seen[-1]))
    return seen
""",
    "a rate that is set after the update": """
def loop(epochs, batches):
    seen = []
    for _ in epochs(3):
        for x, y in batches(loader):
            seen.append(step(x, y, 1.0))
            optimizer.param_groups[0]["lr"] *= 0.95
            optimizer.param_groups[0]["steps"] = len(seen)
    return seen, optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["steps"]
""",
    "gradients of another network": """
def loop(epochs, batches):
    other = nn.Linear(4, 1)
    fast = torch.optim.SGD(other.parameters(), lr=0.1)
    for _ in epochs(3):
        for i, (x, y) in enumerate(batches(loader)):
            ((other(x) - y) ** 2).mean().backward()
            if i % 4 == 3:
                fast.step()
                fast.zero_grad()
            carried = float(other.weight.grad is not None) + float(other.bias.detach()) ** 2
            step(x, y, 1 / (1 + carried))
    return other.state_dict()
""",
}
ODD_REFUSED = {
    "the context of decimals": ("decimal.getcontext, a context", """
import decimal

def loop(epochs, batches):
    decimal.getcontext().prec = 28
    for _ in epochs(3):
        for x, y in batches(loader):
            decimal.getcontext().prec = 10 + decimal.getcontext().prec % 19
            step(x, y, float(decimal.Decimal(1) / 3))
"""),
    "the context of decimals in a function": ("getcontext, a context", """
from decimal import Decimal, getcontext

def scale():
    getcontext().prec = 10 + getcontext().prec % 19
    return float(Decimal(1) / 3)

def loop(epochs, batches):
    getcontext().prec = 28
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, scale())
"""),
    "a loop within that over epochs": ("within that over epochs", """
def loop(epochs, batches):
    for _ in epochs(2):
        for n in range(1, 3):
            for x, y in batches(loader):
                step(x, y, 1 / n)
"""),
    "a long loop within that over epochs": ("within that over epochs", """
def loop(epochs, batches):
    total = 0.0
    for _ in epochs(2):
        for n in range(1, 3):
            for x, y in batches(loader):
                step(x, y, 1 / n)
                total += abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n)
                total += abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n)
                total += abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n)
                total += abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n) + abs(n)
"""),
    "a function within that over epochs": ("within that over epochs", """
def improve(batches, data):
    for x, y in batches(data):
        step(x, y, 1.0)

def loop(epochs, batches):
    for n in epochs(3):
        data = DataLoader(TensorDataset(X * n, Y), batch_size=32)
        for _ in [1, 2]:
            improve(batches, data)
"""),
    "a variable of a context": ("number, a ContextVar", """
import contextvars

number = contextvars.ContextVar("number", default=1)

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / number.get())
            number.set(number.get() + 1)
"""),
    "a variable of a thread": ("held, a _?local", """
import threading

held = threading.local()

def loop(epochs, batches):
    held.number = 1
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / held.number)
            held.number += 1
"""),
    "a queue of C": ("calls, a SimpleQueue", """
import queue

def loop(epochs, batches):
    calls = queue.SimpleQueue()
    for _ in epochs(3):
        for x, y in batches(loader):
            calls.put(1)
            step(x, y, 1 / calls.qsize())
"""),
    "seeds that are spawned": ("seeds, a SeedSequence", """
def loop(epochs, batches):
    seeds = np.random.SeedSequence(3)
    for _ in epochs(3):
        for x, y in batches(loader):
            rng = np.random.default_rng(seeds.spawn(1)[0])
            step(x, y, float(rng.random()))
"""),
}  # fmt: skip
