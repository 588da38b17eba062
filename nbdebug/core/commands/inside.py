"""Commands that look inside the network between two steps, on fixed samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from nbdebug.core.commands.base import Command, Form, FromAfar
from nbdebug.core.results.inside.attribution import METHODS, Method
from nbdebug.core.results.inside.embedding import PROJECTIONS, Projection
from nbdebug.core.results.inside.network_picture import SHOWN, Show
from nbdebug.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class LookInside(Command):
    """Make the picture of the network for one of the fixed samples.

    Attributes:
        sample: number of the sample; show: kind of the values.
        part: name of a part to look closer at, "" for none.
        data: samples that replace the fixed ones, None for those that there are.
        index: of a sample in the training data that is taken instead, None for a fixed one.

    Raises:
        ArgumentError: sample or index is no whole number from 0 on, or show is unknown.
    """

    name: ClassVar[str] = "look_inside"
    long: ClassVar[bool] = True
    sample: int = 0
    show: Show = "activations"
    part: str = ""
    data: Any = None
    index: int | None = None

    def __post_init__(self) -> None:
        _check_numbers(sample=self.sample, index=self.index)
        if self.show not in SHOWN:
            raise ArgumentError(f"show must be one of {', '.join(SHOWN)}, got {self.show!r:.80}.")

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `sample`, `show`, `part` and `index`."""
        show: Any = form.text("show") or "activations"
        number, index = form.integer("sample") or 0, form.integer("index")
        return cls(number, show, form.text("part"), index=index)


@dataclass(frozen=True, slots=True)
class Explain(Command):
    """Attribute an output of the model to the inputs of one of the fixed samples.

    Attributes:
        sample: number of the sample; method: of attribution.
        of: index of the output; None for that of the target, else the largest one.
        layer: of Grad-CAM; "" for the last one with maps of more than one pixel.
        index: of a sample in the training data that is taken instead, None for a fixed one.

    Raises:
        ArgumentError: sample, of or index is no whole number from 0 on, or the method is unknown.
    """

    name: ClassVar[str] = "explain"
    from_afar: ClassVar[FromAfar] = "look"
    long: ClassVar[bool] = True
    sample: int = 0
    method: Method = "saliency"
    of: int | None = None
    layer: str = ""
    index: int | None = None

    def __post_init__(self) -> None:
        _check_numbers(sample=self.sample, of=self.of, index=self.index)
        if self.method not in METHODS:
            raise ArgumentError(
                f"method must be one of {', '.join(METHODS)}, got {self.method!r:.80}."
            )

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `sample`, `method`, `of`, `layer` and `index`."""
        method: Any = form.text("method") or "saliency"
        number, of, index = (form.integer(name) for name in ("sample", "of", "index"))
        return cls(number or 0, method, of, form.text("layer"), index)


@dataclass(frozen=True, slots=True)
class Embed(Command):
    """Project what a part gives for the fixed samples onto a plane.

    Attributes:
        part: name of the part; "" for what the last layer with parameters takes.
        method: of the projection; losses: evaluate the loss of each sample too.

    Raises:
        ArgumentError: the method is unknown.
    """

    name: ClassVar[str] = "embed"
    from_afar: ClassVar[FromAfar] = "look"
    long: ClassVar[bool] = True
    part: str = ""
    method: Projection = "pca"
    losses: bool = False

    def __post_init__(self) -> None:
        if self.method not in PROJECTIONS:
            raise ArgumentError(
                f"method must be one of {', '.join(PROJECTIONS)}, got {self.method!r:.80}."
            )

    @classmethod
    def from_form(cls, form: Form) -> Self:
        """Read `part`, `method` and `losses`."""
        method: Any = form.text("method") or "pca"
        return cls(form.text("part"), method, form.text("losses") == "true")


def _check_numbers(**numbers: int | None) -> None:
    """Refuse what is no whole number from 0 on; all but `sample` may be None."""
    for name, value in numbers.items():
        missing = value is None and name != "sample"
        if not missing and (type(value) is not int or value < 0):
            raise ArgumentError(f"{name} must be a whole number from 0 on, got {value!r:.80}.")
