"""The message handling of bokeh_view.js, in Python."""

from __future__ import annotations

from typing import Any

import numpy as np


class Replay:
    """A view: joins with a snapshot, applies ticks, says hello at a gap."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence: int | None = None
        self.hellos = 1
        self.data: dict[str, dict[str, list[Any]]] = {}
        self.props: dict[tuple[str, str], Any] = {}
        # Panels of the tabs whose figures came, and those figures as JSON, in their order.
        self.tabs: dict[str, list[str]] = {}
        self.roots: list[Any] = []

    def hear(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            content = message["data"].get("content")
            if content:
                self._handle(content, message["buffers"])

    def _handle(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if content["kind"] == "snapshot" and content["view"] == self.name:
            self.sequence = content["sequence"]
            self._apply(content, buffers[0])
        elif content["kind"] == "tick" and self.sequence is not None:
            if content["sequence"] == self.sequence + 1:
                self.sequence += 1
                self._apply(content, buffers[0])
            elif content["sequence"] > self.sequence:
                self.sequence = None
                self.hellos += 1

    def _apply(self, content: dict[str, Any], buffer: bytes) -> None:
        for built in content.get("built", ()):
            if built["tab"] not in self.tabs:
                self.tabs[built["tab"]] = [panel["name"] for panel in built["panels"]]
                self.roots += [panel["model"] for panel in built["panels"] if panel["root"]]
        if self.roots:
            known = defined_in(self.roots)
            assert {model for model, *_ in [*content["sources"], *content["props"]]} <= known
        numbers = np.frombuffer(buffer)
        for source, start, rows, numeric, text in content["sources"]:
            old = self.data.get(source, {})
            new = {}
            for name in numeric:
                fresh, numbers = numbers[:rows].tolist(), numbers[rows:]
                new[name] = old.get(name, [])[:start] + fresh
            for name, fresh in text.items():
                new[name] = old.get(name, [])[:start] + fresh
            self.data[source] = new
        for model, attribute, value in content["props"]:
            self.props[model, attribute] = value
        assert not len(numbers)


def defined_in(roots: Any) -> set[str]:
    """Ids of the models that some JSON defines; raises if one is defined twice, or referred to
    before it is defined."""
    known: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, list | tuple):
            for one in value:
                walk(one)
        elif isinstance(value, dict):
            if value.get("type") == "object" and "id" in value:
                assert value["id"] not in known, f"{value['name']} comes twice"
                known.add(value["id"])
            elif set(value) == {"id"}:
                assert value["id"] in known, f"{value} is not known"
            for one in value.values():
                walk(one)

    walk(roots)
    return known
