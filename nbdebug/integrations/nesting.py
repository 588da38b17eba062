"""Trainings that begin inside of the one that is watched, and call back to the same object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from nbdebug.model.source_code import LIBRARIES

OWN_PACKAGE = "nbdebug"


class Trainings:
    """Tells whether the watched training calls back, or one that runs inside of it.

    Both call from the same thread; the functions on its stack tell them apart.

    Args:
        packages: names of the packages of the trainer.

    Attributes:
        told: True once it was said that a training inside is not watched.
    """

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = (*packages, OWN_PACKAGE)
        self._begun: list[FrameType] = []
        self._outer: FrameType | None = None
        self._inner: FrameType | None = None
        self.told = False

    def begin(self) -> None:
        """Note the functions in which the watched training begins."""
        self.forget()
        self._begun = list(_stack())

    def step(self) -> None:
        """Find the function that runs the whole training: it made the calls at both times."""
        if self._begun:
            here = set(_stack())
            self._outer = next((one for one in self._begun if one in here), None)
            self._begun = []

    def forget(self) -> None:
        """Forget the watched training, which has ended."""
        self._begun, self._outer, self._inner = [], None, None

    def begins_inside(self) -> bool:
        """Tell if a training begins inside of the watched one, and remember it."""
        if self._outer is None or self.inside:
            return self.inside
        found = None
        for frame in _stack():
            if frame is self._outer:
                self._inner = found
                return found is not None
            if found is None or self._is_trainer(found.f_back):
                found = frame
        return False

    @property
    def inside(self) -> bool:
        """True if who calls back is a training inside of the watched one."""
        if self._inner is None:
            return False
        if any(frame is self._inner for frame in _stack()):
            return True
        self._inner = None
        return False

    def _is_trainer(self, frame: FrameType | None) -> bool:
        """True for a function of the trainer, or of a library that it calls."""
        if frame is None or frame is self._outer:
            return False
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        return name in self._packages or frame.f_code.co_filename.startswith(LIBRARIES)


def _stack() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back
