"""Networks that a loop lets grow or exchanges, before, within and after looks and trials."""

from contextlib import suppress
from typing import Any

import pytest

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.test_loop_records import made

LOOP = """
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(4, 6), nn.Linear(6, 1), nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.b(torch.relu(self.a(x))) * self.scale

    def wider(self, k):
        n = self.a.out_features
        a, b = nn.Linear(4, n + k), nn.Linear(n + k, 1)
        with torch.no_grad():
            a.weight[:n], a.bias[:n], b.weight[:, :n] = self.a.weight, self.a.bias, self.b.weight
        self.a, self.b = a, b

{made}

def loop(epochs, batches):
    global optimizer
    seen, count, opt = [], 0, optimizer
    for _ in epochs(3):
        for x, y in batches(loader):
            if count % 6 == 4:
                {change}
            opt.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            opt.step()
            seen.append(loss.item())
            count += 1
    return seen, opt.state_dict()
"""
WIDE = "model = Wide()\noptimizer = torch.optim.Adam(model.parameters(), lr=0.01)"
ALL = 'opt.state.clear(); opt.param_groups[0]["params"] = list(model.parameters())'
SGD = "torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)"
CASES = {
    "a layer more": (
        "",
        "model.append(nn.Linear(1, 1)); opt.add_param_group({'params': [*model[-1].parameters()]})",
    ),
    "a wider layer": (WIDE, f"model.wider(3); {ALL}"),
    "a layer of the same shape": ("", f"model[2] = nn.Linear(8, 1); {ALL}"),
    "a parameter": (WIDE, f"model.scale = nn.Parameter(model.scale.detach() * 0.9); {ALL}"),
    "a layer less": (
        "model.insert(0, nn.Linear(4, 4)); model.insert(0, nn.Linear(4, 4)); "
        "model.insert(0, nn.Linear(4, 4))\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.01)",
        f"del model[0]; {ALL}",
    ),
    "another optimizer": ("", f"opt = {SGD}"),
    "a global optimizer": ("", f"optimizer = opt = {SGD}"),
}
VERBS = {
    "check": lambda dbg: dbg.check(),
    "fork": lambda dbg: dbg.fork(4, lr=[0.001]).discard(),
    "replay": lambda dbg: dbg.replay(),
    "rewind": lambda dbg: dbg.rewind(-2),
    "rewind to 0": lambda dbg: dbg.rewind(0),
}


@pytest.mark.parametrize("at", [2, 4, 5])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("case", CASES)
def test_a_growing_network_stays(case: str, verb: str, at: int) -> None:
    before, change = CASES[case]
    text = LOOP.format(made=before, change=change)
    plain = made(text)
    wanted = plain.loop(range, lambda batches: batches), dict(plain.model.state_dict())
    program, written = made(text), list[Any]()
    with nbd.watch(program.model, program.optimizer, runs=None) as dbg:
        dbg.break_when(f"step >= {at}")
        dbg.run(lambda: written.append(program.loop(dbg.epochs, dbg.batches)))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        # One that is refused changes nothing either.
        with suppress(nbd.ModelError, nbd.NotRepeatableError, nbd.ControlValueError):
            VERBS[verb](dbg)
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
        assert dbg.wait(60)
    assert bitwise_equal((written[0], dict(program.model.state_dict())), wanted)
