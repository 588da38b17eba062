"""Picture of a network: its structure with the values of one sample."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nbdebug.core.results.inside.network_page import network_page
from nbdebug.core.results.inside.part_detail import PartDetail
from nbdebug.core.results.inside.part_values import PartValues
from nbdebug.core.results.inside.structure import Structure

if TYPE_CHECKING:
    import pandas as pd

Show = Literal["activations", "gradients", "updates"]
# Number of a sample that is none of the fixed ones.
NO_FIXED = -1
SHOWN: tuple[Show, ...] = ("activations", "gradients", "updates")
MEANINGS: Mapping[Show, str] = {
    "activations": "Shown is what each part gives, in eval mode.",
    "gradients": "Shown is the gradient of the loss of this sample with respect to what each part "
    "gives, in eval mode.",
    "updates": "The number in a box is the L2 norm of the update over that of the weights before; "
    "the colours are the updates of single weights.",
}


@dataclass(frozen=True, slots=True)
class NetworkPicture:
    """Structure of a network and, for one fixed sample, the values of every part.

    Attributes:
        step: of training; sample: number of the sample among the fixed ones, -1 for another one.
        samples: how many fixed ones there are.
        origin: where the sample comes from; index: in that data.
        target: of the sample, None where it is unknown.
        values: by name of the part; of updates those of its largest parameter, each over the root
            mean square of the weights before it.
        show: kind of the values; reason: why there are none, "" if there are.
        inputs: of the sample, as it is drawn.
        detail: of the part that was asked for, None without one.
        updated: step of the updates that are shown, None for other values.
    """

    step: int
    structure: Structure
    sample: int = 0
    samples: int = 1
    origin: str = ""
    index: int | None = None
    target: Any = None
    show: Show = "activations"
    values: Mapping[str, PartValues] = field(default_factory=dict)
    inputs: PartValues | None = None
    reason: str = ""
    detail: PartDetail | None = None
    updated: int | None = None

    @property
    def place(self) -> str:
        """Step and sample as text; of updates their step."""
        if self.updated is not None:
            return f"update of step {self.updated:,}, as the training data made it"
        target = "" if self.target is None else f", target {self.target:.4g}"
        if self.sample == NO_FIXED:
            return f"step {self.step:,}, sample {self.index} of {self.origin}{target}"
        index = "" if self.index is None else f", index {self.index:,}"
        return (
            f"step {self.step:,}, sample {self.sample} of {self.samples} from "
            f"{self.origin}{index}{target}"
        )

    @property
    def caption(self) -> str:
        """Sentences about step, sample and kind of the values; why there are none."""
        if self.reason:
            return self.reason
        failed = self.structure.error
        if failed is not None:
            shapes = ", ".join(map(str, failed.given))
            end = f" It was called with {shapes}." if shapes else ""
            return f"The model fails at {failed.title}: {failed.error}.{end}"
        place = self.place
        return f"{place[0].upper()}{place[1:]}. {MEANINGS[self.show]}"

    def to_frame(self) -> pd.DataFrame:
        """The table of `Structure.to_frame()` with mean, std, low, high, zeros and broken.

        Of updates also with `ratio`, the L2 norm of the update over that of the weights.
        """
        frame = self.structure.to_frame()
        ratio = ("ratio",) * (self.show == "updates")
        for name in ("mean", "std", "low", "high", "zeros", "broken", *ratio):
            found = [
                getattr(self.values[one], name) if one in self.values else math.nan
                for one in (part.name for part in self.structure.parts)
            ]
            frame[name] = np.array(found, dtype=np.float64)
        return frame

    def __repr__(self) -> str:
        failed = self.structure.error
        if self.updated is not None:
            parts = len(self.structure.parts)
            return f"NetworkPicture(step {self.step}, {parts} parts, {self.place})"
        sample = self.sample if self.sample != NO_FIXED else f"{self.index} of {self.origin}"
        end = f", fails at {failed.title}: {failed.error}" if failed is not None else ""
        return (
            f"NetworkPicture(step {self.step}, {len(self.structure.parts)} parts, "
            f"{self.show} of sample {sample}{end})"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.caption)}</p>{network_page(self)}"
