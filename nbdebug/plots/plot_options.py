"""Options of the plots that the viewer can choose: axis, smoothing, layer of a histogram."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

Option = tuple[str, str]
MAX_EARLY = 16


@dataclass(frozen=True, slots=True)
class PlotOption:
    """One drop-down or slider above the plots of a tab, or beside the title of a panel.

    Attributes:
        panel: name of the panel, "" for above the plots.
        options: values, each with its label; free: other values can be chosen too.
        slider: it is a slider, with the first value at its right end.
    """

    name: str
    label: str
    tab: str
    options: tuple[Option, ...]
    value: str
    panel: str = ""
    free: bool = False
    slider: bool = False

    def takes(self, value: str) -> bool:
        """Tell if a value can be chosen."""
        return self.free or value in dict(self.options)


class PlotOptions:
    """All options of one dashboard; thread-safe."""

    def __init__(self) -> None:
        self._choices: dict[str, PlotOption] = {}
        # Picked by a button before the option was offered, as by a tab that was never shown.
        self._early: dict[str, str] = {}
        self._lock = threading.Lock()
        self.version = 0

    def offer(
        self,
        name: str,
        label: str,
        tab: str,
        options: Sequence[Option],
        panel: str = "",
        free: bool = False,
        slider: bool = False,
    ) -> None:
        """Add a drop-down or a slider, or change its options; a value still offered is kept.

        Args:
            free: a button elsewhere may choose what is not offered yet.
            slider: show a slider, with the first value at its right end.
        """
        first = options[0][0] if options else ""
        choice = PlotOption(name, label, tab, tuple(options), first, panel, free, slider)
        with self._lock:
            old = self._choices.get(name)
            early = self._early.get(name)
            if early is not None and choice.takes(early):
                del self._early[name]
                choice = replace(choice, value=early)
            elif old is not None and choice.takes(old.value):
                choice = replace(choice, value=old.value)
            if choice != old:
                self._choices[name] = choice
                self.version += 1

    def pick(self, name: str, value: str) -> None:
        """Choose a value; one that an option does not offer is ignored.

        An option that is not there yet takes the value when it comes.
        """
        with self._lock:
            choice = self._choices.get(name)
            if choice is None:
                if name in self._early or len(self._early) < MAX_EARLY:
                    self._early[name] = value
                return
            self._early.pop(name, None)
            if not choice.takes(value) or choice.value == value:
                return
            self._choices[name] = replace(choice, value=value)
            self.version += 1

    def ask_again(self) -> None:
        """Let all plots be drawn once more, as after a choice."""
        with self._lock:
            self.version += 1

    def __getitem__(self, name: str) -> str:
        return self._choices[name].value

    def describe(self) -> list[dict[str, Any]]:
        """JSON values for the browser."""
        with self._lock:
            choices = list(self._choices.values())
        return [
            {
                "name": choice.name,
                "label": choice.label,
                "tab": choice.tab,
                "panel": choice.panel,
                "options": [list(option) for option in choice.options],
                "value": choice.value,
                "slider": choice.slider,
            }
            for choice in choices
        ]
