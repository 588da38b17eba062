"""Instruments that are written by hand, without a package."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.peers.base import Peer


class NormsByHand(Peer):
    """Loss and gradient norm of all parameters and of each, in one transfer: the limit."""

    title = "the same norms by hand"

    def begin(self) -> None:
        self.rows: list[list[float]] = []

    def after_backward(self, loss: torch.Tensor) -> None:
        each = torch._foreach_norm([p.grad for _, p in self.named])
        norms = torch.stack(each)
        total = torch.linalg.vector_norm(norms)
        self.rows.append(torch.cat([norms, total[None], loss.detach()[None]]).tolist())


class ActivationHooks(Peer):
    """Mean, deviation, share near zero and a histogram of every layer's output, each step."""

    title = "hooks: statistics of all activations, as ActivationStats takes them"

    def begin(self) -> None:
        self.rows: list[tuple[float, float, float, torch.Tensor]] = []
        layers = (module for module in self.model.modules() if not list(module.children()))
        self._handles = [layer.register_forward_hook(self._look) for layer in layers]

    def _look(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        found = output[0] if isinstance(output, tuple) else output
        values = found.detach().float()
        near = (values <= 0.05).float().mean().item()
        counts = values.histc(40, 0, 10)
        self.rows.append((values.mean().item(), values.std().item(), near, counts))

    def end(self) -> None:
        for handle in self._handles:
            handle.remove()
