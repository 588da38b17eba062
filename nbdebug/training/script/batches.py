"""Lines of a generated script that draw batches."""

from __future__ import annotations

from nbdebug.errors import ScriptError
from nbdebug.training.data.samplers import DirectSampler
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.replay_events import Event


def batch_lines(session: Session, accumulates: bool) -> list[str]:
    """Return the functions that draw a batch, and with `accumulates` those of a step.

    Raises:
        ScriptError: a script cannot draw the batches of this training.
    """
    sampler = session.sampler
    if not isinstance(sampler, DirectSampler) or sampler.indices.own is not None:
        raise ScriptError(
            "Batches come from loader workers, a stream or a user-defined sampler, which a "
            "script cannot reproduce yet."
        )
    indices = sampler.indices
    draw = "torch.randperm(len(data[0]), generator=order)"
    if not indices.shuffle:
        draw = "torch.arange(len(data[0]))"
    fresh, more = "not len(left)", "len(left)"
    if indices.drop_last:
        fresh, more = "len(left) < batch_size", "len(left) >= batch_size"
    return [
        f"order = torch.Generator().manual_seed({indices.seed})",
        "left = torch.empty(0, dtype=torch.int64)",
        "", "",
        "def next_batch():",
        '    """Return the next batch; each epoch has a new order."""',
        "    global left",
        f"    if {fresh}:",
        f"        left = {draw}",
        "    indices, left = left[:batch_size], left[batch_size:]",
        "    return tuple(part[indices] for part in data)",
        "", "",
        *(_step_lines(more) if accumulates else []),
    ]  # fmt: skip


def _step_lines(more: str) -> list[str]:
    return [
        "def next_batches():",
        '    """Return the batches of the next step; the last of an epoch has those left."""',
        "    batches = [next_batch()]",
        f"    while len(batches) < accumulate and {more}:",
        "        batches.append(next_batch())",
        "    return batches",
        "", "",
    ]  # fmt: skip


def excluded_lines(session: Session, event: Event) -> list[str]:
    """Return the lines that draw what was excluded and drop it.

    Raises:
        ScriptError: a batch was left out of a step of several.
    """
    if session.batching.accumulate == 1:
        why = "One sample" if event.alone else "NaN or Inf"
        return [f"# {why}: this batch was excluded.", "next_batch()"]
    if event.alone:
        raise ScriptError(
            f"At step {event.step} the last batch, of one sample, was left out of a step of "
            "several, which cannot be written into a script yet."
        )
    return ["# NaN or Inf: the batches of this step were excluded.", "next_batches()"]
