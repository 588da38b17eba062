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
