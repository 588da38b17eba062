"""Messages between ranks, carried by torch.distributed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# A paused training may wait overnight.
TIMEOUT = timedelta(hours=12)
WAIT = timedelta(minutes=30)


class DistributedLink:
    """Link over a process group of its own, of gloo: a pause trips no watchdog of NCCL.

    Until rank 0 wakes them, the other ranks wait for a key of the store: an operation that waits
    in a process group would end the process where the group is destroyed.

    Args:
        store: of the ranks, a client of its own; waiting: another one, which waits; prefix: of
            their keys.
    """

    def __init__(self, store: Any, waiting: Any, prefix: str) -> None:
        self._store, self._waiting, self._prefix = store, waiting, prefix
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._group = dist.new_group(backend="gloo", timeout=TIMEOUT)

    def wake(self, number: int) -> None:
        self._store.set(self._key(number), b"1")
        if number >= 2:
            # All ranks have read it: they took part in the message behind it.
            self._store.delete_key(self._key(number - 2))

    def wait(self, number: int) -> bool:
        try:
            self._waiting.wait([self._key(number)], WAIT)
        except dist.DistStoreError:
            return False
        return True

    def share(self, value: Any, source: int = 0) -> Any:
        found = [value if self.rank == source else None]
        dist.broadcast_object_list(found, source, self._group, device=torch.device("cpu"))
        return found[0]

    def largest(self, numbers: Sequence[int]) -> list[int]:
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def total(self, numbers: Sequence[int]) -> list[int]:
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def _reduced(self, numbers: Sequence[int], operation: Any) -> list[int]:
        found = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(found, operation, self._group)
        return [int(number) for number in found.tolist()]

    def leave(self) -> None:
        self._store.add(self._key("left"), 1)

    def left(self) -> bool:
        return int(self._store.add(self._key("left"), 0)) > 0

    def _key(self, name: object) -> str:
        return f"{self._prefix}/{name}"
