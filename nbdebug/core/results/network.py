"""The layers of a model in the order in which data flow through them."""

from __future__ import annotations

from dataclasses import dataclass

# Between the first and the last layer of a range. Names of modules have no dots, so that no path
# has two in a row.
RANGE = ".."


@dataclass(frozen=True, slots=True)
class NetworkLayer:
    """One layer.

    Attributes:
        name: path in the model; kind: name of its class.
        parameters: names of its parameters, as in the series `grad_norm/<parameter>`.
    """

    name: str
    kind: str
    parameters: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name and class, such as "5 ReLU"; the class alone for a model of one layer."""
        return f"{self.name} {self.kind}" if self.named else self.kind

    @property
    def named(self) -> bool:
        """False for a model of one layer, which is called by its class."""
        return self.name != self.kind.lower()


@dataclass(frozen=True, slots=True)
class Network:
    """All layers, in the order of their first call in a training step.

    Before the first step, and inside of compiled modules, it is the order of registration.

    Attributes:
        shapes: of the first tensor that each module gave in that step, by its path, "" for the
            model itself; blocks of layers included.
    """

    layers: tuple[NetworkLayer, ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def title(self, name: str) -> str:
        """Name and class of a layer; the name alone if it is unknown."""
        return next((layer.title for layer in self.layers if layer.name == name), name)


def range_of(first: str, last: str) -> str:
    """Name of the layers from a first to a last one."""
    return f"{first}{RANGE}{last}"


def ends_of(name: str) -> list[str]:
    """First and last layer of a range; a layer or block alone."""
    return name.split(RANGE)


def range_title(name: str) -> str:
    """Name as people read it, such as "0 … 4"."""
    return " … ".join(ends_of(name))
