"""Loops that count in libraries, in many tensors or in hooks, as programs; see `counting_loops`."""

LIBRARIES = {
    "a frame that grows": """
import pandas as pd

def loop(epochs, batches):
    log = pd.DataFrame(columns=["loss", "norm"], dtype=float)
    for _ in epochs(3):
        for x, y in batches(loader):
            log.loc[len(log)] = [step(x, y, 1 / (1 + len(log))), float(x.norm())]
            log.attrs["rows"] = len(log)
    return log.to_dict("tight"), str(log.dtypes.tolist()), str(log.index), log.attrs
""",
    "a frame and its series": """
import pandas as pd

def loop(epochs, batches):
    index = pd.Index(["a", "b", "c"], name="kind")
    table = pd.DataFrame({"n": [0, 0, 0], "name": ["x", "y", "z"], "held": [[1], [2], None]}, index)
    counts, at = pd.Series([1.0] * 3, dtype="float32"), 0
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / float(counts.sum() + table.n.sum() + len(table.held["a"])))
            counts.iloc[at % 3] += 1
            table.loc[index[at % 2], "n"] += 1
            table.held["a"].append(at)
            at += 1
            if at == 8:
                table["late"] = 1.5
    return table.to_dict("tight"), str(table.dtypes.tolist()), counts.tolist(), str(counts.dtype)
""",
    "a frame that is bound anew": """
import pandas as pd

def loop(epochs, batches):
    log = pd.DataFrame({"loss": [1.0]})
    for _ in epochs(3):
        for x, y in batches(loader):
            row = pd.DataFrame({"loss": [step(x, y, 1 / len(log))]})
            log = pd.concat([log, row], ignore_index=True)
    return log.to_dict("tight")
""",
    "sorted lists": """
import sortedcontainers

def loop(epochs, batches):
    losses = sortedcontainers.SortedList()
    keyed = sortedcontainers.SortedKeyList(key=lambda v: -v)
    table, met = sortedcontainers.SortedDict(), sortedcontainers.SortedSet()
    for _ in epochs(3):
        for x, y in batches(loader):
            losses.add(step(x, y, 1 / (1 + len(losses) + len(keyed) + len(table) + len(met))))
            keyed.add(float(x.sum()))
            table[float(x[0, 0])] = len(table)
            met.add(round(float(y[0, 0]), 1))
            if len(losses) > 5:
                losses.pop(0)
    return list(losses), list(keyed), dict(table), list(table), list(met)
""",
    "a generator inside of an object": """
import scipy.stats

def loop(epochs, batches):
    chosen = scipy.stats.beta(0.4, 0.4)
    chosen.random_state = np.random.RandomState(3)
    seen = []
    for _ in epochs(3):
        for x, y in batches(loader):
            seen.append(float(chosen.rvs()))
            step(x, y, 1 / (1 + seen[-1]))
    return seen
""",
    "bars": """
import tqdm, tqdm.auto

def loop(epochs, batches):
    bar = tqdm.tqdm(total=99, file=io.StringIO())
    with tqdm.auto.tqdm(range(3), file=io.StringIO()) as other:
        for _ in epochs(3):
            for x, y in batches(loader):
                step(x, y, 1 / (1 + bar.n + other.n))
                bar.update()
                other.update(2)
    bar.close()
    return bar.n, other.n
""",
}
# Loops that write into many tensors or arrays of a container.
MANY = {
    "a list of many tensors": """
def loop(epochs, batches):
    targets, at = [torch.zeros(4) for _ in range(300)], 0
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + float(targets[at % 5].sum())))
            targets[at % 3].add_(x.abs().mean(0))
            targets[at % 5].data.add_(1.0)
            if at == 6:
                targets[4] = torch.ones(4)
            at += 1
    return targets
""",
    "a dict of many arrays": """
def loop(epochs, batches):
    table, at = {n: np.zeros(2) for n in range(100)}, 0
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + table[at % 5][0]))
            table[at % 3] += float(x.abs().mean())
            at += 1
    return table
""",
    "prototypes of an object": """
class Bank:
    def __init__(self):
        self.rows = [nn.Parameter(torch.zeros(4), requires_grad=False) for _ in range(70)]
        self.rows += [torch.zeros(2, dtype=torch.int64), None, torch.zeros(3).requires_grad_()]

def loop(epochs, batches):
    bank, at = Bank(), 0
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1 / (1 + float(bank.rows[at % 5].sum() + bank.rows[70].sum())))
            bank.rows[at % 3].add_(x.abs().mean(0))
            bank.rows[70][at % 2] += 1
            at += 1
    return bank.rows
""",
}
# Loops that put hooks on parameters and modules, and take them away.
HOOKS = {
    "hooks of a parameter": """
def loop(epochs, batches):
    handles, at = [], 0
    for _ in epochs(3):
        for x, y in batches(loader):
            if at % 3 == 0:
                weight = model[0].weight
                handles.append(weight.register_hook(lambda g, s=at: g * (1 + 0.1 * s)))
            if len(handles) > 2:
                handles.pop(0).remove()
            at += 1
            step(x, y, 1.0)
    return at, len(handles), len(model[0].weight._backward_hooks)
""",
    "hooks after the gradients": """
def loop(epochs, batches):
    handle, at, seen = None, 0, []
    for _ in epochs(3):
        for x, y in batches(loader):
            if at % 4 == 1:
                def scale(parameter, at=at):
                    seen.append(at)
                    parameter.grad.mul_(1 + 0.1 * at)
                handle = model[2].bias.register_post_accumulate_grad_hook(scale)
            if at % 4 == 3:
                handle.remove()
            at += 1
            step(x, y, 1.0)
    return seen
""",
    "hooks of a module": """
def loop(epochs, batches):
    handles, at = [], 0
    for _ in epochs(3):
        for x, y in batches(loader):
            if at % 3 == 0:
                handles.append(model[1].register_forward_hook(lambda m, i, o, s=at: o + 0.01 * s))
                handles.append(model[1].register_forward_pre_hook(
                    lambda m, i, k, s=at: ((i[0] + 0.01 * s,), k), with_kwargs=True, prepend=True
                ))
                handles.append(model[2].register_full_backward_hook(
                    lambda m, gi, go, s=at: (gi[0] * (1 + 0.01 * s),)
                ))
            if len(handles) > 6:
                handles.pop(0).remove()
                handles.pop(0).remove()
            at += 1
            step(x, y, 1.0)
    return at, [len(one._forward_hooks) for one in model], len(model[1]._forward_pre_hooks)
""",
    "what a hook of a parameter counts": """
def counted():
    count, mean = 0, None
    def hook(gradient):
        nonlocal count, mean
        count += 1
        mean = gradient.clone() if mean is None else 0.9 * mean + 0.1 * gradient
        return mean if count % 3 == 0 else gradient
    return hook

def loop(epochs, batches):
    model[0].weight.register_hook(counted())
    for _ in epochs(3):
        for x, y in batches(loader):
            step(x, y, 1.0)
""",
}
# Loops that count in what belongs to the process.
PROCESS = {
    "the environment": """
import os

os.environ["COUNTED_STEPS"] = "0"

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            os.environ["COUNTED_STEPS"] = str(int(os.environ["COUNTED_STEPS"]) + 1)
            if "COUNTED_LATE" not in os.environ and int(os.environ["COUNTED_STEPS"]) == 8:
                os.environ["COUNTED_LATE"] = "1"
            late = int(os.environ.get("COUNTED_LATE", "0"))
            step(x, y, 1 / (late + int(os.environ["COUNTED_STEPS"])))
    return os.environ.pop("COUNTED_STEPS"), os.environ.pop("COUNTED_LATE")
""",
    "a handler of a logger": """
import logging

class Count(logging.Handler):
    def __init__(self):
        super().__init__()
        self.n, self.lines = 0, []

    def emit(self, record):
        self.n += 1
        self.lines.append(record.getMessage())

counts = Count()
log = logging.getLogger("counted.steps")
log.setLevel("INFO")
log.propagate = False
log.handlers[:] = [counts]
inner = logging.getLogger("counted.steps.inner")

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            inner.info("a step")
            held = logging.getLogger("counted.steps").handlers[0]
            held.handle(logging.makeLogRecord({"msg": "one more"}))
            step(x, y, 1 / (held.n + len(held.lines)))
    return held.n, held.lines
""",
    "rows of a table in memory": """
import csv, io

def loop(epochs, batches):
    plain, named = io.StringIO(), io.StringIO()
    rows, table = csv.writer(plain), csv.DictWriter(named, ["loss"])
    for _ in epochs(3):
        for x, y in batches(loader):
            loss = step(x, y, 0.5)
            rows.writerow([loss])
            table.writerow({"loss": loss})
    return plain.getvalue(), named.getvalue()
""",
}
