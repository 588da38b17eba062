"""Handler that computes a number from the weights, by which ranks are compared."""

from __future__ import annotations

import torch

from nbdebug.core.commands.ranks import CompareRanks
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler

WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
PRIME, BITS = 1_000_003, 2**61


class CompareRanksHandler(Handler[CompareRanks]):
    """Handler that adds up the bits of all parameters; None where a rank holds parts of them."""

    command = CompareRanks

    def handle(self, command: CompareRanks, progress: TaskProgress) -> int | None:
        parameters = [parameter.detach() for _, parameter in self.training.session.parameters]
        # FSDP and other subclasses give each rank a part of its own.
        if any(type(one) not in (torch.Tensor, torch.nn.Parameter) for one in parameters):
            return None
        found = 0
        with torch.no_grad():
            sums = [_bits(one) for one in parameters]
        for number in torch.stack([one.to(sums[0].device) for one in sums]).tolist():
            found = (found * PRIME + int(number)) % BITS
        return found


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Sum of the bits of a tensor, read as whole numbers."""
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.contiguous().view(WHOLE[real.element_size()]).sum(dtype=torch.int64)
