"""Summary table of a model."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("Layer", "Class", "Output shape", "Parameters", "Trainable")


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One module.

    Attributes:
        layer: path in the model; kind: class name; depth: nesting depth.
        output_shape: shape for one batch, () if the module was not called.
        parameters: number of parameters, submodules included; trainable: number of trainable ones.
    """

    layer: str
    kind: str
    depth: int
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int


@dataclass(frozen=True)
class ModelSummary:
    """The model, module by module, in the order of their calls.

    Attributes:
        layers: the model itself first.
    """

    layers: tuple[LayerSummary, ...]

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row per module, with the share of trainable parameters."""
        import pandas as pd

        names = list(LayerSummary.__dataclass_fields__)
        rows = [[getattr(layer, name) for name in names] for layer in self.layers]
        frame = pd.DataFrame(rows, columns=names)
        frame["share_trainable"] = frame["trainable"] / frame["parameters"].where(
            frame["parameters"] > 0
        )
        return frame

    def __repr__(self) -> str:
        rows = [COLUMNS, *(_texts(layer, "  ") for layer in self.layers)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        return "\n".join(
            "  ".join(
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        head = "".join(_cell("th", name, column) for column, name in enumerate(COLUMNS))
        body = "".join(f"<tr>{_row(layer)}</tr>" for layer in self.layers)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _texts(layer: LayerSummary, indent: str) -> tuple[str, ...]:
    count = layer.parameters
    return (
        indent * layer.depth + (layer.layer.rpartition(".")[2] or "model"),
        layer.kind,
        ", ".join(str(n) for n in layer.output_shape) or "-",
        f"{count:,}",
        f"{layer.trainable / count:.0%}" if count else "-",
    )


def _row(layer: LayerSummary) -> str:
    texts = _texts(layer, "\u2003")
    return "".join(_cell("td", text, column) for column, text in enumerate(texts))


def _cell(tag: str, text: str, column: int) -> str:
    side = "left" if column < 2 else "right"
    return f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>'
