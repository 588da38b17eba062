"""Attribution of an output of the model to the inputs of one sample."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from nbdebug.core.html.heat import heat
from nbdebug.core.html.thumbnail import thumbnail
from nbdebug.core.records import Array

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["saliency", "input_x_gradient", "integrated_gradients", "occlusion", "grad_cam"]
METHODS: tuple[Method, ...] = get_args(Method)
TITLES: Mapping[str, str] = {
    "saliency": "Saliency",
    "input_x_gradient": "Input times gradient",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
    "grad_cam": "Grad-CAM",
}
MAX_ROWS = 12


@dataclass(frozen=True, slots=True)
class Attribution:
    """Share of each input of a sample in one output of the model.

    Attributes:
        method: how it was found; step: of training; sample: number among the fixed ones.
        of: index of the output that is explained, -1 for the only one; output: its value.
        values: in the shape of `inputs`, [T] for the tokens of a text, or [H, W] for Grad-CAM.
        inputs: the sample; of a text its tokens.
        place: layer whose output was taken, "" for the inputs of the model.
        gap: of integrated gradients, the sum of all values less the difference of the outputs for
            the sample and for zeros, which is 0 for infinitely many steps; nan for other methods.
        index: of the sample in the training data, None for one of the fixed samples.
    """

    method: Method
    step: int
    sample: int
    of: int
    output: float
    values: Array
    inputs: Array
    place: str = ""
    gap: float = float("nan")
    index: int | None = None

    @property
    def named(self) -> str:
        """Sample as text: its number among the fixed ones, or its index in the training data."""
        return f"{self.sample}" if self.index is None else f"{self.index} of train_data"

    def to_frame(self) -> pd.DataFrame:
        """One row for each value, the largest magnitudes first: its index, input and value."""
        import pandas as pd

        flat = self.values.reshape(-1)
        places = np.stack(np.unravel_index(np.arange(flat.size), self.values.shape or (1,)), axis=1)
        frame = pd.DataFrame({"index": [tuple(map(int, one)) for one in places]})
        if self.inputs.shape == self.values.shape:
            frame["input"] = self.inputs.reshape(-1)
        frame["value"] = flat
        order = np.argsort(-np.abs(flat), kind="stable")
        return frame.iloc[order].reset_index(drop=True)

    def __repr__(self) -> str:
        of = "the output" if self.of < 0 else f"output {self.of}"
        return (
            f"Attribution({self.method} of {of} = {self.output:.4g}, sample {self.named}, "
            f"step {self.step}, values {self.values.shape})"
        )

    def _repr_html_(self) -> str:
        of = "the output" if self.of < 0 else f"output {self.of}"
        words = (
            f"{TITLES[self.method]} of {of} ({self.output:.4g}) for sample {self.named}, at step "
        )
        words += f"{self.step:,}"
        words += f", at layer {self.place}." if self.place else "."
        said = f"<p>{html.escape(words)}</p>"
        if self.values.ndim < 2 or min(self.values.shape[-2:]) < 2:
            return said + self.to_frame().head(MAX_ROWS).to_html(index=False)
        flat = self.values.sum(axis=0) if self.values.ndim == 3 else self.values
        pictures = [thumbnail(self.inputs)] if self.inputs.ndim in (2, 3) else []
        pictures.append(heat(flat) if flat.ndim == 2 else "")
        style = "width:160px;height:160px;image-rendering:pixelated;margin-right:8px"
        return said + "".join(
            f'<img alt="" style="{style}" src="{one}">' for one in pictures if one
        )
