"""Figures of the tabs as JSON; what was encoded for one tab is referred to in the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.core.serialization import Ref, Serializer
from bokeh.model import Model
from bokeh.models.ui import UIElement


@dataclass(frozen=True, slots=True)
class PanelRoot:
    """Result of building a panel, as JSON.

    Attributes:
        root: id of the root of its plot, None for a panel of HTML alone; model: the root as JSON.
    """

    name: str
    height: int
    root: str | None
    model: Any

    def describe(self) -> dict[str, Any]:
        """JSON values for the browser."""
        # Not `asdict`, which copies the figure.
        return {name: getattr(self, name) for name in self.__slots__}


class TabRoots:
    """Tabs that were built, in the order in which their figures join the document of a view.

    A view that takes all of them in this order has one document, in which tabs share models.
    """

    def __init__(self) -> None:
        self._encoder = _Encoder()
        self._tabs: list[dict[str, Any]] = []
        self._sent = 0

    def __contains__(self, model: str) -> bool:
        """Tell if a model, by its id, is part of a figure that was encoded."""
        return model in self._encoder.known

    def encode(self, name: str, height: int, root: UIElement | None) -> PanelRoot:
        """Encode the root of a panel; one that raises leaves the others as they are."""
        if root is None:
            return PanelRoot(name, height, None, None)
        known = len(self._encoder.known)
        try:
            return PanelRoot(name, height, root.id, self._encoder.encode(root))
        except BaseException:
            # Views will not get the models that were encoded before it raised.
            self._encoder = _Encoder(list(self._encoder.known.values())[:known])
            raise

    def add(self, tab: str, panels: Sequence[PanelRoot]) -> None:
        """Add a tab with its panels."""
        self._tabs.append({"tab": tab, "panels": [panel.describe() for panel in panels]})

    def unsent(self) -> list[dict[str, Any]]:
        """Tabs added since the last call, as JSON; marks them as sent."""
        fresh, self._sent = self._tabs[self._sent :], len(self._tabs)
        return fresh

    def everything(self) -> list[dict[str, Any]]:
        """All tabs that were sent so far, as JSON."""
        return self._tabs[: self._sent]


class _Encoder(Serializer):
    """Serializer that keeps the models it has encoded, and so their identities.

    Args:
        models: encoded already; they become references.

    Attributes:
        known: all models that were encoded, by their ids.
    """

    def __init__(self, models: Sequence[Model] = ()) -> None:
        super().__init__(references=set(models), deferred=False)
        self.known = {model.id: model for model in models}

    def add_ref(self, obj: Any, ref: Ref) -> None:
        """Note that a model is known from now on."""
        super().add_ref(obj, ref)
        self.known[ref["id"]] = obj
