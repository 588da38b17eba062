"""Loops that write into tensors and arrays that they only read by name, as programs."""

BODY = """
def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            {write}
            step(x, y, 1 / (1 + 0.1 * float({read})))
    return {read}.item()
"""


def _program(made: str, write: str, read: str) -> str:
    return made + BODY.format(write=write, read=read)


SEEN = "count, other = torch.zeros(5), torch.ones(5)\n"
PLACES = {
    "add_": _program(SEEN, "count.add_(1)", "count[0]"),
    "an index": _program(SEEN, "count[0] += 1", "count[0]"),
    "out": _program(SEEN, "torch.add(count, other, out=count)", "count[0]"),
    "data": _program(SEEN, "count.data += 1", "count[0]"),
    "a view": _program(SEEN + "part = count[2:]\n", "part.add_(1)", "count[2]"),
    "a function": _program(
        SEEN + "def note(value):\n    count.add_(value)\n", "note(1)", "count[0]"
    ),
    "a default": _program(
        SEEN + "def note(value, into=count):\n    into.add_(value)\n    return into\n",
        "note(0.5)",
        "note(0.5)[0]",
    ),
    "a closure": _program(
        "def made():\n    held = torch.zeros(5)\n    def note(value):\n"
        "        return held.add_(value)\n    return note\nnote = made()\n",
        "note(0.5)",
        "note(0.5)[0]",
    ),
    "a tensor of an object": _program(
        "box = types.SimpleNamespace(count=torch.zeros(5))\n", "box.count.add_(1)", "box.count[0]"
    ),
    "a tensor of a class": _program(
        "class Box:\n    count = torch.zeros(5)\n", "Box.count.add_(1)", "Box.count[0]"
    ),
    "a tensor of a function": _program(
        "def note():\n    note.count.add_(1)\nnote.count = torch.zeros(5)\n",
        "note()",
        "note.count[0]",
    ),
    "an array": _program("count = np.zeros(5)\n", "count[0] += 1", "count[0]"),
    "an array of a class": _program(
        "class Box:\n    count = np.zeros(5)\n", "Box.count[0] += 1", "Box.count[0]"
    ),
    "an array of a function": _program(
        "def note():\n    note.count[0] += 1\nnote.count = np.zeros(5)\n",
        "note()",
        "note.count[0]",
    ),
    "an average of the weights": """
average = [p.detach().clone() for p in model.parameters()]
mean = torch.zeros(4)

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            mean.lerp_(x.mean(0), 0.1)
            for kept, p in zip(average, model.parameters()):
                kept.lerp_(p.detach(), 0.1)
            step(x, y, 1 / (1 + mean.abs().sum()))
    return [kept.sum().item() for kept in average], mean.tolist()
""",
    "another network": """
teacher = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
slow = torch.optim.SGD(teacher.parameters(), lr=0.01)

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            slow.zero_grad()
            ((teacher(x) - y) ** 2).mean().backward()
            slow.step()
            step(x, y, 1 / (1 + teacher(x).detach().abs().mean()))
    return [part.sum().item() for part in teacher.state_dict().values()]
""",
    "an average of the model": """
teacher = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

def loop(epochs, batches):
    for _ in epochs(3):
        for x, y in batches(loader):
            with torch.no_grad():
                for kept, p in zip(teacher.parameters(), model.parameters()):
                    kept.lerp_(p, 0.1)
            step(x, y, 1 / (1 + teacher(x).detach().abs().mean()))
    return [part.sum().item() for part in teacher.state_dict().values()]
""",
}
