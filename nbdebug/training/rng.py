"""The random numbers of a session, apart from everyone else's."""

from __future__ import annotations

import torch


class SessionRng:
    """torch's global generators while a step runs, and only then.

    Between steps other cells draw from their own state: neither disturbs the other, and
    a step that failed draws the same numbers again. NumPy's and Python's generators are
    left alone.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._cuda = device if device.type == "cuda" else None
        self.reset()

    def reset(self) -> None:
        self.state = torch.Generator().manual_seed(self._seed).get_state()
        self.cuda_state: torch.Tensor | None = None
        if self._cuda is not None:
            self.cuda_state = torch.Generator(self._cuda).manual_seed(self._seed).get_state()

    def __enter__(self) -> None:
        self._outer = torch.get_rng_state()
        torch.set_rng_state(self.state)
        if self._cuda is not None and self.cuda_state is not None:
            self._outer_cuda = torch.cuda.get_rng_state(self._cuda)
            torch.cuda.set_rng_state(self.cuda_state, self._cuda)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.state = torch.get_rng_state()
        torch.set_rng_state(self._outer)
        if self._cuda is not None:
            if kind is None:
                self.cuda_state = torch.cuda.get_rng_state(self._cuda)
            torch.cuda.set_rng_state(self._outer_cuda, self._cuda)
