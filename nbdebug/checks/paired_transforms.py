"""Random transforms of inputs and targets."""

from __future__ import annotations

from collections import defaultdict

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._samples import limited_by_time
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
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
        if samples.fetch is None or not samples.length:
            return Outcome("not_applicable", "the data is a stream and can be read only once.")
        inputs_vary = targets_vary = False
        for place in limited_by_time(range(0, samples.length, max(1, samples.length // SAMPLES))):
            pairs = [split(samples.read([place], draw)) for draw in range(DRAWS)]
            if not all(isinstance(part, torch.Tensor) for pair in pairs for part in pair):
                return Outcome("not_applicable", "inputs or targets are not a single tensor.")
            targets: dict[bytes, list[torch.Tensor]] = defaultdict(list)
            for given, wanted in pairs:
                targets[_content(given)].append(wanted)
            known = {_content(wanted) for _, wanted in pairs}
            if context.loss_fn is None and known & targets.keys():
                return Outcome("not_applicable", "each sample is two views of the same data.")
            inputs_vary |= len(targets) > 1
            targets_vary |= len(known) > 1
            mixed = max(sum(_distinct(seen)) for seen in targets.values())
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


def _content(tensor: torch.Tensor) -> bytes:
    """The numbers of a tensor, bit by bit."""
    flat = tensor.detach().cpu().to_dense() if tensor.is_sparse else tensor.detach().cpu()
    return flat.resolve_conj().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _distinct(targets: list[torch.Tensor]) -> list[bool]:
    """True for each target that is no repetition of one before it; ignored places are equal."""
    return [
        not any(_agree(target, other) for other in targets[:place])
        for place, target in enumerate(targets)
    ]


def _agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if one.is_floating_point() or one.is_complex():
        return torch.equal(one, other)
    # Negative class indices stand for places that the loss leaves out.
    return bool(((one == other) | (one < 0) | (other < 0)).all())
