"""A loop that knows its batches by id() is left alone by looks, which give it copies."""

from __future__ import annotations

import torch
from torch import nn

import nbdebug as nbd


def train(checked: bool) -> tuple[list[float], int, str]:
    torch.manual_seed(0)
    inputs, targets = torch.randn(128, 6), torch.randint(3, (128,))
    batches = list(zip(inputs.split(16), targets.split(16), strict=True))
    known = {id(batch): 0 for batch in batches}
    model = nn.Linear(6, 3)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    dbg = nbd.watch(model, sgd, runs=None)
    losses: list[float] = []

    def loop() -> None:
        for _ in dbg.epochs(3):
            for batch in dbg.batches(batches):
                known[id(batch)] += 1
                sgd.zero_grad()
                loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
                loss.backward()
                sgd.step()
                losses.append(loss.item())
                if len(losses) == 10:
                    dbg.pause()

    dbg.run(loop)
    dbg.wait(60)
    said = str(dbg.check()) if checked else ""
    dbg.start()
    dbg.wait(60)
    dbg.close()
    return losses, sum(known.values()), said


def test_a_check_ends_no_loop_that_knows_its_batches_by_identity() -> None:
    losses, count, said = train(checked=True)
    assert (losses, count) == train(checked=False)[:2]
    assert len(losses) == count == 24
    assert "The loop calls id()" in said
