"""Random motions of pictures: flips, quarter turns and shifts, and targets that have a place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from nbdebug.checks._relation import Relation, features_of, targets_of
from nbdebug.model.precision import wide

# Correlation of a draw with the moved picture, and what it has more than with the picture at rest.
MIN_ALIKE, MIN_BETTER = 0.9, 0.05
MIN_SIDE, MAX_SHIFT, MAX_NUMBERS, MIN_ROWS = 4, 8, 64, 100
MIN_RELATION, MAX_SHARE = 12.0, 0.3


@dataclass(frozen=True)
class Motion:
    """A motion of pictures along their last axes.

    Attributes:
        words: such as "flipped along axis -1"; move: applies it to pictures [..., H, W].
        invariant: of pictures [N, ..., H, W], what the motion does not change.
        shifts: the motion has two directions of any length; a flip is undone by itself.
    """

    words: str
    move: Callable[[torch.Tensor], torch.Tensor]
    invariant: Callable[[torch.Tensor], torch.Tensor]
    shifts: bool = False


def motion_between(one: torch.Tensor, other: torch.Tensor) -> Motion | None:
    """The motion that makes one draw [..., H, W] of a sample of another; None without one."""
    if one.shape != other.shape or one.ndim < 2 or min(one.shape[-2:]) < MIN_SIDE:
        return None
    one, other = wide(one.detach().cpu()), wide(other.detach().cpu())
    rest = _alike(one, other)
    for motion in _motions(one.shape):
        moved = motion.move(one)
        mine, its = (_inner(part) if motion.shifts else part for part in (moved, other))
        before = _alike(_inner(one), its) if motion.shifts else rest
        found = _alike(mine, its)
        if found > MIN_ALIKE and found > before + MIN_BETTER:
            return motion
    return None


def _motions(shape: torch.Size) -> Iterator[Motion]:
    for axis in (-1, -2):
        yield _flip(axis)
    if shape[-1] == shape[-2]:
        yield from map(_turn, (1, 2, 3))
    for axis in (-1, -2):
        for places in range(1, min(MAX_SHIFT, shape[axis] // 4) + 1):
            yield _shift(places, axis)
            yield _shift(-places, axis)


def _flip(axis: int) -> Motion:
    return Motion(
        f"flipped along axis {axis}", lambda x: x.flip(axis), lambda x: x + x.flip(axis)
    )  # fmt: skip


def _turn(times: int) -> Motion:
    return Motion(
        "turned by quarters", lambda x: x.rot90(times, (-2, -1)),
        lambda x: torch.stack([x.rot90(k, (-2, -1)) for k in range(4)]).sum(0),
    )  # fmt: skip


def _shift(places: int, axis: int) -> Motion:
    return Motion(
        f"shifted along axis {axis}", lambda x: x.roll(places, axis),
        lambda x: torch.fft.rfft(x, dim=axis).abs(), shifts=True,
    )  # fmt: skip


def _inner(picture: torch.Tensor) -> torch.Tensor:
    """A picture without the borders that a shift fills anew."""
    sides = [min(MAX_SHIFT, side // 4) for side in picture.shape[-2:]]
    height, width = (slice(side, -side) for side in sides)
    return picture[..., height, width]


def _alike(one: torch.Tensor, other: torch.Tensor) -> float:
    """Correlation of the numbers of two pictures; 0 of a constant one."""
    a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 1e-12 else 0.0


def has_picture(target: torch.Tensor, given: torch.Tensor) -> bool:
    """True if a target [..., H, W] has a place for each of a picture, such as a mask."""
    return target.ndim >= 2 and target.shape[-2:] == given.shape[-2:]


def moves_with(motion: Motion, target: torch.Tensor) -> bool:
    """True if a target [..., H, W] is another one where it is moved."""
    return not torch.equal(motion.move(target), target)


def may_be_places(target: torch.Tensor) -> bool:
    """True for some numbers, which may tell where things are."""
    return target.is_floating_point() and 1 <= target.numel() <= MAX_NUMBERS


def depends_on_place(
    motion: Motion, pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> bool | None:
    """True if a number of the targets tells a place that the motion changes.

    Of a picture and its mirror image together, the distance of a thing from the middle can be
    told, and its side cannot. Where the numbers of a target are like that, they are coordinates;
    what can be told of both, such as an age, is the same in a mirror.

    Args:
        pairs: batches of inputs [B, ..., H, W] and targets [B, ...].

    Returns:
        None if there are too few samples.
    """
    inputs, targets = zip(*pairs, strict=True)
    if sum(map(len, inputs)) < MIN_ROWS or len({one.shape[1:] for one in inputs}) != 1:
        return None
    pictures = wide(torch.cat(inputs).detach().cpu())
    numbers = targets_of([torch.cat(targets).flatten(1)])
    blind, seeing = features_of([motion.invariant(pictures)]), features_of([pictures])
    if numbers is None or blind is None or seeing is None:
        return None
    return any(
        _is_hidden(Relation(blind[0]), Relation(seeing[0]), column[:, None], motion.shifts)
        for column in numbers[0].T
    )


def _is_hidden(
    blind: Relation, seeing: Relation, numbers: torch.Tensor, shifts: bool
) -> bool:  # fmt: skip
    """True if numbers [N, 1] cannot be told of what a motion leaves as it is, but nearly."""
    if float(numbers.std()) < 1e-6:
        return False
    aside = numbers.square()
    near = seeing.strength(numbers) if shifts else blind.strength(aside - aside.mean())
    return near > MIN_RELATION and blind.strength(numbers) < MAX_SHARE * near
