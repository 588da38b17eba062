"""Series as one Parquet table, one row per bucket."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdebug.core.series import Series
from nbdebug.runs.bounded.parquet_pages import pages
from nbdebug.runs.record.schema import line
from nbdebug.runs.record.store_packages import require_pyarrow

if TYPE_CHECKING:
    pass

MAX_TABLE_ROWS, MAX_SERIES, MAX_STEP = 20_000_000, 100_000, 2**53
MAX_ROW_GROUPS, MAX_FOOTER_BYTES = 100, 10_000_000
# Measured numbers hardly compress: a large table takes more bytes a row as a file, too.
SMALL_TABLE_ROWS, MIN_BYTES_PER_ROW = 500_000, 4
SMALL_TABLE_BYTES, BYTES_PER_ROW = 32_000_000, 64
COMPRESSIONS = ("UNCOMPRESSED", "SNAPPY", "ZSTD")
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
        # The names of series stay numbered: written out they may be a thousand times as long.
        file = parquet.ParquetFile(
            pa.BufferReader(data), read_dictionary=["series"],
            thrift_string_size_limit=MAX_FOOTER_BYTES, thrift_container_size_limit=MAX_ROW_GROUPS,
        )  # fmt: skip
        _check_schema(file.schema_arrow)
        if not file.metadata.num_rows:
            return {}
        _check_sizes(file.metadata, data)
        return dict(_series(file.read(use_threads=False)))
    except KeyError as error:
        raise ValueError(f"series cannot be read: the column {error} is missing") from error
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ValueError(f"series cannot be read: {str(error)[:300]}") from error


def _check_schema(schema: Any) -> None:
    import pyarrow as pa

    kinds = (pa.int64(), *[pa.float64()] * 4, pa.int32())
    expected = dict(zip(COLUMNS, kinds, strict=True))
    found = {name: schema.field(name).type for name in schema.names}
    names = found.pop("series", None)
    if len(schema.names) != len(COLUMNS) + 1 or found != expected:
        raise ValueError(f"its columns are {', '.join(schema.names)[:200]}, of other types")
    if names != pa.dictionary(pa.int32(), pa.string()):
        raise ValueError(f"the names of series are of the type {str(names)[:60]}")


def _check_sizes(about: Any, data: bytes) -> None:
    """Check how large the table is before any of it is unpacked."""
    rows = about.num_rows
    if rows > MAX_TABLE_ROWS or rows > SMALL_TABLE_ROWS + len(data) // MIN_BYTES_PER_ROW:
        raise ValueError(f"it has {rows:,} rows, more than any run")
    groups = [about.row_group(index) for index in range(about.num_row_groups)]
    if any(group.num_rows < 0 for group in groups) or sum(g.num_rows for g in groups) != rows:
        raise ValueError("its numbers of rows differ")
    unpacked = 0
    for group in groups:
        for index in range(group.num_columns):
            column = group.column(index)
            if column.compression not in COMPRESSIONS:
                raise ValueError(f"it is compressed by {column.compression}")
            values = 0
            for page in pages(data, *_chunk(column)):
                values += page.values
                unpacked += page.unpacked
            if values != group.num_rows:
                raise ValueError(f"a column has {values:,} values in {group.num_rows:,} rows")
            if unpacked > SMALL_TABLE_BYTES + BYTES_PER_ROW * rows:
                raise ValueError("its pages unpack to more than its rows need")


def _chunk(column: Any) -> tuple[int, int]:
    """Start and length of the pages of a column."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    return start, column.total_compressed_size


def _series(table: Any) -> Iterator[tuple[str, Series]]:
    if any(column.null_count for column in table.columns):
        raise ValueError("values are missing")
    names = table.column("series").unify_dictionaries().combine_chunks()
    columns = {column: table.column(column).to_numpy() for column in COLUMNS}
    check_values(columns["step"], columns["count"])
    known = [line(name) for name in names.dictionary.to_pylist()]
    if len(known) > MAX_SERIES:
        raise ValueError(f"it has {len(known):,} series, more than any run")
    which = names.indices.to_numpy()
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(known)), side="right")
    for name, part in zip(known, np.split(order, ends)[:-1], strict=True):
        yield name, in_order(Series(name, **{c: columns[c][part] for c in COLUMNS}))


def check_values(steps: Any, counts: Any) -> None:
    """Check steps and numbers of values of series.

    Raises:
        ValueError: there is one that no training has.
    """
    if len(steps) and (steps.min() < 0 or steps.max() > MAX_STEP or counts.min() < 1):
        raise ValueError("steps or numbers of values are negative or too large")


def in_order(series: Series) -> Series:
    """The series with each step once and in order; of equal steps the last one is kept."""
    steps = series.step
    if (steps[1:] > steps[:-1]).all():
        return series
    order = np.argsort(steps, kind="stable")
    last = np.append(np.diff(steps[order]) > 0, True)
    return Series(series.name, *(getattr(series, c)[order[last]] for c in COLUMNS))
