"""Samples of a batch with the largest losses."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdebug.core.deprecated import warn_deprecated

if TYPE_CHECKING:
    import pandas as pd

COLUMN_HEADINGS = ("sample", "loss", "target", "prediction", "gradient norm", "inputs")
CELL_STYLE = "text-align:left;vertical-align:middle;overflow-wrap:normal"


@dataclass(frozen=True, slots=True)
class WorstSample:
    """One sample.

    Attributes:
        index: index in the data; None for a stream.
        position: position in the batch.
        loss: loss of this sample; grad_norm: L2 norm of its gradient over all parameters.
        target, prediction: a class, a number or a list of numbers; None if unknown.
        row: the first inputs; picture: the inputs as a data URI, "" if they are no image.
    """

    index: int | None
    position: int
    loss: float
    grad_norm: float
    target: Any = None
    prediction: Any = None
    row: tuple[float, ...] = ()
    picture: str = ""

    @property
    def name(self) -> str:
        """Name of the sample: its index, or its position in the batch."""
        return f"{self.index}" if self.index is not None else f"position {self.position}"

    @property
    def place(self) -> int:
        """Position in the batch (deprecated alias)."""
        warn_deprecated("WorstSample.place", "position")
        return self.position

    @property
    def inputs(self) -> str:
        """The first inputs as text."""
        return ", ".join(f"{value:.3g}" for value in self.row)


@dataclass(frozen=True)
class WorstSamples:
    """Samples of one batch, the worst first: NaN or Inf, then by loss.

    Attributes:
        step: step of the batch; samples: the worst samples.
        looked_at: number of evaluated samples, of `count` in the batch.
    """

    step: int
    samples: tuple[WorstSample, ...]
    looked_at: int
    count: int

    @property
    def title(self) -> str:
        """Title of the table."""
        of = (
            f"{self.count}" if self.looked_at == self.count else f"{self.looked_at} of {self.count}"
        )
        return f"The {len(self.samples)} worst of {of} samples in the batch of step {self.step:,}"

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row per sample."""
        import pandas as pd

        columns = ("index", "position", "loss", "grad_norm", "target", "prediction", "row")
        rows = [[getattr(sample, name) for name in columns] for sample in self.samples]
        return pd.DataFrame(rows, columns=list(columns))

    def __repr__(self) -> str:
        lines = [self.title, " | ".join(COLUMN_HEADINGS)]
        return "\n".join(lines + [" | ".join(words(sample)) for sample in self.samples])

    def _repr_html_(self) -> str:
        return worst_sample_table(self)


def words(sample: WorstSample) -> tuple[str, ...]:
    """Table cells of a sample, in the columns of `COLUMN_HEADINGS`."""
    known = (sample.target, sample.prediction)
    target, prediction = ("" if value is None else _short(value) for value in known)
    numbers = f"{sample.loss:.4g}", f"{sample.grad_norm:.4g}"
    return sample.name, numbers[0], target, prediction, numbers[1], sample.inputs


def worst_sample_table(found: WorstSamples, tools: tuple[str, ...] = ()) -> str:
    """Render the samples as HTML.

    Args:
        tools: HTML for the second cell of each row, which is visible on a narrow page too.
    """
    names = (COLUMN_HEADINGS[0], "", *COLUMN_HEADINGS[1:]) if tools else COLUMN_HEADINGS
    head = "".join(f'<th style="{CELL_STYLE}">{html.escape(name)}</th>' for name in names)
    body = ""
    for number, sample in enumerate(found.samples):
        cells = [html.escape(word) for word in words(sample)]
        if sample.picture:
            said = f"inputs of sample {sample.name}"
            cells[-1] = (
                f'<img src="{sample.picture}" width="48" alt="{said}" '
                'style="image-rendering:pixelated">'
            )
        cells[1:1] = tools[number : number + 1]
        body += (
            "<tr>" + "".join(f'<td style="{CELL_STYLE}">{cell}</td>' for cell in cells) + "</tr>"
        )
    return (
        f"<div><b>{html.escape(found.title)}</b></div>"
        f'<div style="overflow-x:auto"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        shown = ", ".join(_short(part) for part in value[:3])
        return shown + (", ..." if len(value) > 3 else "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
