"""Copies of tensors that are taken again and again, before every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

SMALL_BYTES, LEARNING_STEPS = 2**18, 3


class TensorCopies:
    """Copies of tensors, taken before each step.

    A large tensor that stayed the same for some steps, such as a table, is copied again only
    after it was written to.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._small: tuple[list[torch.Tensor], list[torch.Tensor]] = [], []
        self._large: list[_LargeTensor] = []

    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy tensors; nothing is allocated for those of the last time."""
        ids = list(map(id, tensors))
        if ids != self._ids:
            self._arrange(tensors)
            self._ids = ids
        elif self._small[0]:
            with torch.no_grad():
                torch._foreach_copy_(self._small[1], self._small[0])
        for large in self._large:
            large.take()

    def settle(self) -> None:
        """Note which large tensors stayed the same, after a step that succeeded."""
        for large in self._large:
            large.settle()

    @torch.no_grad()
    def restore(self) -> None:
        """Write all copies back."""
        for tensor, copy in zip(*self._small, strict=True):
            tensor.copy_(copy)
        for large in self._large:
            large.restore()

    def _arrange(self, tensors: Sequence[torch.Tensor]) -> None:
        known = {id(large.tensor): large for large in self._large}
        single = {id(tensor): tensor for tensor in tensors}.values()
        small = [t for t in single if t.nbytes <= SMALL_BYTES or t.is_inference()]
        self._small = small, [tensor.detach().clone() for tensor in small]
        self._large = [
            known.get(id(t)) or _LargeTensor(t)
            for t in single
            if t.nbytes > SMALL_BYTES and not t.is_inference()
        ]


class _LargeTensor:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self._copy: torch.Tensor | None = None
        self._version, self._same = -1, 0

    def take(self) -> None:
        if self._copy is None:
            self._copy = self.tensor.detach().clone()
        elif self._same < LEARNING_STEPS or self.tensor._version != self._version:
            self._copy.copy_(self.tensor.detach())
        self._version = self.tensor._version

    def settle(self) -> None:
        if self._copy is None or self._same >= LEARNING_STEPS:
            return
        # By value: some operations do not count as writing, such as those on `.data`.
        same = self._same >= 0 and torch.equal(self.tensor.detach(), self._copy)
        self._same = self._same + 1 if same else -1

    def restore(self) -> None:
        if self._copy is not None:
            self.tensor.copy_(self._copy)
