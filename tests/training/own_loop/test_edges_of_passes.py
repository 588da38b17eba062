"""Verbs on the edge of two passes leave what the code between them does as it was."""

from typing import Any

import pytest

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.test_loop_records import made

# 90 samples: the last batch of six is smaller.
LOOP = """
data = TensorDataset(X[:90], Y[:90])
generator = torch.Generator().manual_seed(3)
other, chance = np.random.default_rng(3), random.Random(3)
count, scale = torch.zeros(2), 1.0

def loop(epochs, batches):
    global scale
    seen, size, part, order = [], 16, None, list(range(6))
    for epoch in epochs(4):
        {before}
        for x, y in batches({loader}):
            seen.append(step(x, y, scale / (1 + 0.1 * float(count.sum()))))
        {after}
    return seen, count.tolist(), scale, size, generator.get_state(), optimizer.param_groups[0]["lr"]
"""
SHUFFLED = "DataLoader(data, batch_size=size, shuffle=True, generator=generator)"
CASES = {
    "a generator of new loaders": ("", SHUFFLED, ""),
    "a size that grows": ("", SHUFFLED, "size += 2"),
    "a rate that grows": ("", SHUFFLED, 'optimizer.param_groups[0]["lr"] *= 1.2'),
    "a size and a rate": ("", SHUFFLED, 'size += 2; optimizer.param_groups[0]["lr"] *= 1.2'),
    "drop_last": ("", SHUFFLED.replace("size=size", "size=size, drop_last=True"), "size += 3"),
    "a tensor and a number": ("count[0] += 1", SHUFFLED, "scale *= 0.9; count[1] += scale"),
    "global numbers": ("", "DataLoader(data, batch_size=size, shuffle=True)", "size += 1"),
    "a sampler": (
        "part = torch.utils.data.RandomSampler(data, generator=generator)",
        "DataLoader(data, batch_size=size, sampler=part)",
        "",
    ),
    "weights of samples": (
        "part = WeightedRandomSampler(torch.arange(1.0, 91), 90, generator=generator)",
        "DataLoader(data, batch_size=size, sampler=part)",
        "",
    ),
    "batches of indices": (
        "part = torch.randperm(90, generator=generator).split(size)",
        "[(X[i], Y[i]) for i in part]",
        "size += 1",
    ),
    "a shuffled order": (
        "chance.shuffle(order); other.shuffle(order)",
        "[(X[i::6], Y[i::6]) for i in order]",
        "",
    ),
    "a generator of batches": (
        "part = torch.utils.data.RandomSampler(data, generator=generator)",
        "DataLoader(data, batch_sampler=torch.utils.data.BatchSampler(part, size, False))",
        "",
    ),
    "a new optimizer state": (
        "",
        SHUFFLED,
        "optimizer.state.clear(); scale += torch.rand(()).item()",
    ),
}
VERBS = {
    "check": lambda dbg: dbg.check(),
    "fork": lambda dbg: dbg.fork(3, lr=[0.001]).discard(),
    "replay": lambda dbg: dbg.replay(),
    "rewind": lambda dbg: dbg.rewind(-3),
    "rewind and fork": lambda dbg: (
        dbg.rewind(-2), dbg.run(steps=2), dbg.fork(3, lr=[0.001]).discard(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("case", CASES)
def test_an_edge_of_passes_stays(case: str, verb: str) -> None:
    before, loader, after = (part or "pass" for part in CASES[case])
    text = LOOP.format(before=before, loader=loader, after=after)
    plain = made(text)
    wanted = plain.loop(range, lambda batches: batches), dict(plain.model.state_dict())
    lengths = 5 if "drop_last" in text else 6
    program, written = made(text), list[Any]()
    with nbd.watch(program.model, program.optimizer, runs=None) as dbg:
        dbg.break_when("step >= 3")
        dbg.run(lambda: written.append(program.loop(dbg.epochs, dbg.batches)))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        dbg.run(steps=lengths - dbg.history.status.step)
        VERBS[verb](dbg)
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
        assert dbg.wait(60)
        assert not [one for one in dbg.history.notices if one.severity != "info"]
    assert bitwise_equal((written[0], dict(program.model.state_dict())), wanted)
