"""Attribution of an output of the model to the inputs of one sample."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from nbdebug.core.html.heat import heat
from nbdebug.core.html.signed_bars import coloured_texts, signed_bars
from nbdebug.core.html.thumbnail import thumbnail
from nbdebug.core.records import Array
from nbdebug.errors import ArgumentError

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
MAX_ROWS, MAX_TOKENS = 12, 256


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
        names: of the inputs, such as the columns of a DataFrame, or words; () without.
        tokens: True if the inputs are tokens.
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
    names: tuple[str, ...] = ()
    tokens: bool = False

    def with_names(self, names: Sequence[str] | Callable[[int], str]) -> Attribution:
        """The same with other names in tables and plots.

        Args:
            names: of all inputs in their order; of tokens the words by number, or a function that
                gives the word of a number, such as `tokenizer.decode`.

        Raises:
            ArgumentError: there are fewer or more names than inputs, or no word for a token.
        """
        if not self.tokens and (callable(names) or len(names) != self.values.size):
            raise ArgumentError(f"names must be {self.values.size:,} texts, one for each input.")
        if not self.tokens:
            return replace(self, names=tuple(map(str, names)))  # type: ignore[arg-type]
        numbers = [int(one) for one in self.inputs.reshape(-1)]
        if callable(names):
            return replace(self, names=tuple(str(names(one)) for one in numbers))
        if numbers and not 0 <= min(numbers) <= max(numbers) < len(names):
            raise ArgumentError(
                f"names must hold a word for each token, up to {max(numbers)}; got {len(names)}."
            )
        return replace(self, names=tuple(str(names[one]) for one in numbers))

    @property
    def named(self) -> str:
        """Sample as text: its number among the fixed ones, or its index in the training data."""
        return f"{self.sample}" if self.index is None else f"{self.index} of train_data"

    def to_frame(self) -> pd.DataFrame:
        """One row for each value, the largest magnitudes first: its index, input and value.

        Inputs that have names have them in the column `name`.
        """
        import pandas as pd

        flat = self.values.reshape(-1)
        places = np.stack(np.unravel_index(np.arange(flat.size), self.values.shape or (1,)), axis=1)
        frame = pd.DataFrame({"index": [tuple(map(int, one)) for one in places]})
        if len(self.names) == flat.size:
            frame.insert(0, "name", self.names)
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
        if self.values.ndim > 3 or self.values.ndim < 2 or min(self.values.shape[-2:]) < 2:
            return said + (self._coloured() if self.tokens else self._bars())
        flat = self.values.sum(axis=0) if self.values.ndim == 3 else self.values
        pictures = [thumbnail(self.inputs)] if self.inputs.ndim in (2, 3) else []
        pictures.append(heat(flat))
        style = "width:160px;height:160px;image-rendering:pixelated;margin-right:8px"
        return said + "".join(
            f'<img alt="" style="{style}" src="{one}">' for one in pictures if one
        )

    def _bars(self) -> str:
        """Bars of the inputs with the largest magnitudes."""
        flat, shape = self.values.reshape(-1), self.values.shape or (1,)
        kept = np.argsort(-np.abs(flat), kind="stable")[:MAX_ROWS]
        if len(self.names) == flat.size:
            names = [self.names[at] for at in kept]
        else:
            places = [tuple(map(int, np.unravel_index(at, shape))) for at in kept]
            names = [f"input {one[0] if len(one) == 1 else one}" for one in places]
        notes = [""] * len(kept)
        if self.inputs.shape == self.values.shape:
            notes = [f"= {one:.4g}" for one in self.inputs.reshape(-1)[kept]]
        label = f"{TITLES[self.method]} by input, the largest first"
        drawn = signed_bars(names, flat[kept].tolist(), notes, label)
        rest = flat.size - len(kept)
        return drawn + (f"<p>and {rest:,} inputs of smaller magnitude</p>" if rest > 0 else "")

    def _coloured(self) -> str:
        """Tokens in their colours; of a long text the part with the largest magnitudes."""
        values = self.values.reshape(-1)
        texts = self.names or tuple(f"{int(one)}" for one in self.inputs.reshape(-1))
        start = 0
        if len(values) > MAX_TOKENS:
            sums = np.cumsum(np.concatenate([[0.0], np.abs(np.nan_to_num(values))]))
            start = int(np.argmax(sums[MAX_TOKENS:] - sums[:-MAX_TOKENS]))
        part = slice(start, start + MAX_TOKENS)
        label = f"{TITLES[self.method]} by token"
        drawn = coloured_texts(texts[part], values[part].tolist(), label)
        if len(values) <= MAX_TOKENS:
            return drawn
        end = start + MAX_TOKENS - 1
        return f"{drawn}<p>Tokens {start:,} to {end:,} of {len(values):,}, the strongest part</p>"
