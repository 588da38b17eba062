"""Series as one Parquet table, one row per bucket."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdebug.core.series import Series
from nbdebug.runs.record.store_packages import require_pyarrow

if TYPE_CHECKING:
    import pandas as pd

MAX_TABLE_ROWS = 20_000_000
COLUMNS = ("step", "mean", "minimum", "maximum", "last", "count")


def to_parquet(series: Mapping[str, Series]) -> bytes:
    """Write all series to a Parquet table.

    Columns: `series`, `step`, `mean`, `minimum`, `maximum`, `last` and `count`.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow as pa
    from pyarrow import parquet

    parts = list(series.values())
    names = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts]),
        pa.array([part.name for part in parts], pa.string()),
    )
    columns = {"series": names}
    for column, empty in zip(COLUMNS, (np.int64, *[np.float64] * 4, np.int32), strict=True):
        arrays = [getattr(part, column) for part in parts]
        columns[column] = pa.array(np.concatenate(arrays or [np.empty(0, empty)]))
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(data: bytes) -> dict[str, Series]:
    """Read the series of a table that `to_parquet` wrote.

    Raises:
        ValueError: the data is no such table, or too large.
        MissingPackageError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows = parquet.read_metadata(io.BytesIO(data)).num_rows
        if rows > MAX_TABLE_ROWS:
            raise ValueError(f"it has {rows:,} rows, more than any run")
        return _series(parquet.read_table(io.BytesIO(data)))
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"series cannot be read: {error}") from error


def _series(table: Any) -> dict[str, Series]:
    names = table.column("series").combine_chunks().dictionary_encode()
    columns = {column: table.column(column).to_numpy() for column in COLUMNS}
    which = names.indices.to_numpy()
    found = {}
    for code, name in enumerate(names.dictionary.to_pylist()):
        rows = which == code
        parts = {column: values[rows] for column, values in columns.items()}
        found[name] = Series(name, **parts)
    return found


def long_frame(series: Mapping[str, Series]) -> pd.DataFrame:
    """All series as one DataFrame, one row per bucket."""
    import pandas as pd

    parts = [
        pd.DataFrame({"series": name, **{c: getattr(one, c) for c in COLUMNS}})
        for name, one in series.items()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(
        columns=["series", *COLUMNS]
    )  # fmt: skip
