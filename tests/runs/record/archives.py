"""Archives that nobody's training wrote, made in code: by name, the bytes of a file.

Each is read as a run, or refused in words, soon and in little memory.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nbdebug.runs.record.journal import FRAME_HEADER, MAGIC, Frame
from nbdebug.runs.record.run_data import DOCUMENTS, RunData
from tests.runs.handmade import change, run_of, series

Maker = Callable[[], bytes]
COLUMNS = ("step", "mean", "minimum", "maximum", "last", "count")
DEEP = 100_000


def documents() -> dict[str, Any]:
    """One of everything that a run holds."""
    return {
        "run": {
            "key": "k1", "name": "a run", "status": "finished", "started": 1.7e9,
            "ended": 1.7e9 + 9, "seen": 1.7e9 + 9, "step": 3, "samples": 192, "epoch": 0.3,
            "metrics": ["accuracy"], "nbdebug": "0.2", "failure": None, "pid": 1,
            "born": 1.7e9, "host": "there",
        },
        "parameters": {"lr": 0.1, "batch_size": 64, "optimizer": "sgd", "seed": 0, "dropout": 0.5},
        "changes": [change(1, "lr", 0.1, 0.05)],
        "notes": [{"step": 1, "samples": 64, "epoch": 0.1, "text": "look"}],
        "findings": [{
            "name": "flat", "title": "The loss is flat", "severity": "warning", "since": 1,
            "until": None, "value": 0.5, "threshold": 1.0, "seen": "flat", "why": "so",
            "because": "", "source": "a book", "evidence": [1.0, "NaN"],
            "remedies": [{"text": "raise lr", "settings": {"lr": 1.0}}],
        }],
        "checks": [{
            "name": "shapes", "title": "Shapes", "step": 1, "status": "pass", "seen": "fine",
            "expected": "", "remedy": "", "why": "", "source": "", "because": "", "at": 0,
            "seconds": 0.1,
        }],
        "cells": ["import nbdebug"],
        "model": {
            "class": "Net", "parameters": 9, "trainable": 9, "initial_weights": "ab",
            "layers": [{"layer": "fc", "kind": "Linear", "settings": "3, 3", "parameters": 9,
                        "trainable": 9}],
            "parts": [{"part": "fc", "kind": "Linear", "shape": [1, 3], "parameters": 9,
                       "trainable": 9, "entry": True},
                      {"part": "relu", "kind": "relu", "inputs": [0], "function": True}],
        },
        "data": {
            "train": {"kind": "tensors", "samples": 9, "parts": [
                {"shape": [9, 3], "dtype": "float32", "sha256": "ab", "classes": {"0": 9}},
            ]},
            "validation": {},
        },
        "code": {"model": "class Net: ...", "loss": "", "git": {"commit": "ab", "diff": "+a"}},
        "environment": {"python": "3.11", "packages": {"torch": "2.6"}},
    }  # fmt: skip


def files(**changed: Any) -> dict[str, bytes]:
    """Files of a run, with some documents exchanged."""
    run = run_of("a run", [series("loss", [3.0, 2.0, 1.0]), series("accuracy", [0.1, 0.2, 0.3])])
    found = dict(RunData(documents() | changed, run.bundle.series).files())
    # As they are: the writer would make them safe.
    return found | {f"{name}.json": dumps(value) for name, value in changed.items()}


def dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def with_document(name: str, value: Any) -> Maker:
    return lambda: zipped(files(**{name: value}))


def with_field(name: str, path: str, value: Any) -> Maker:
    """One value of a document exchanged; `path` leads to it, with numbers for rows."""

    def make() -> bytes:
        whole = documents()[name]
        *inner, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        at = whole
        for part in inner:
            at = at[part]
        at[last] = value
        return zipped(files(**{name: whole}))

    return make


def with_bytes(name: str, data: Callable[[], bytes] | bytes) -> Maker:
    return lambda: zipped({**files(), name: data() if callable(data) else data})


# Parquet


def table(rows: int = 3, **columns: Any) -> pa.Table:
    steps = np.arange(rows)
    values = np.ones(rows)
    known: dict[str, Any] = {
        "series": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["loss"])),
        "step": steps, "mean": values, "minimum": values, "maximum": values, "last": values,
        "count": np.ones(rows, np.int32),
    }  # fmt: skip
    return pa.table({n: c for n, c in (known | columns).items() if c is not None})


def written(made: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(made, buffer, **{"compression": "zstd", **options})
    return buffer.getvalue()


def with_table(rows: int = 3, options: Mapping[str, Any] = {}, **columns: Any) -> Maker:
    def make() -> bytes:
        made = {n: c() if callable(c) else c for n, c in columns.items()}
        return zipped({**files(), "series.parquet": written(table(rows, **made), **options)})

    return make


def names_column(names: list[str]) -> Callable[[], pa.Array]:
    return lambda: pa.DictionaryArray.from_arrays(
        np.arange(len(names), dtype=np.int32), pa.array(names, pa.string())
    )


def lying_page() -> bytes:
    """A page whose header says that it unpacks to 2 GB."""
    data = bytearray(written(table(), compression="none", use_dictionary=False))
    # Field 2 of a page header, the unpacked size, is the second varint of each page.
    at = data.index(b"\x15\x00\x15", 4)
    return bytes(data[: at + 3]) + b"\xfe\xff\xff\xff\x0f" + bytes(data[at + 4 :])


def lying_rows() -> bytes:
    """A footer with another number of rows."""
    data = bytearray(written(table(300), compression="none"))
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    at = data.index(b"\xd8\x04", footer)  # 300 as a zigzag varint
    return bytes(data[:at]) + b"\xd6\x04" + bytes(data[at + 2 :])


# Zip


def patched(offset_of: bytes, at: int, value: bytes) -> Maker:
    """Bytes of the last record of a kind exchanged."""

    def make() -> bytes:
        data = bytearray(zipped(files()))
        start = data.rindex(offset_of) + at
        data[start : start + len(value)] = value
        return bytes(data)

    return make


DIRECTORY, END, LOCAL = b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04"


def twice() -> bytes:
    made = zipped({**files(), "xun.json": dumps({"key": "other"})})
    return made.replace(b"xun.json", b"run.json")


def overlapping() -> bytes:
    """Two members whose data is the same bytes."""
    data = bytearray(zipped(files(), zipfile.ZIP_STORED))
    entries = [at for at in range(len(data)) if data[at : at + 4] == DIRECTORY]
    data[entries[1] + 42 : entries[1] + 46] = data[entries[0] + 42 : entries[0] + 46]
    return bytes(data)


def linked() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files().items():
            about = zipfile.ZipInfo(name)
            about.external_attr = (0o120777 if name == "notes.json" else 0o100644) << 16
            archive.writestr(about, data)
    return buffer.getvalue()


def many_members() -> bytes:
    return zipped({**files(), **{f"{n}": b"" for n in range(5000)}})


def nested(levels: int) -> bytes:
    data = zipped(files())
    for _ in range(levels):
        data = zipped({"run.json": data})
    return data


def zip64() -> bytes:
    data = zipped(files())
    at = data.rindex(END)
    _, _, _, _, entries, length, offset, _ = struct.unpack("<4s4H2LH", data[at : at + 22])
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, length, offset
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    return data[:at] + record + locator + data[at:]


# Journals


def frame(header: bytes, payload: bytes = b"", **told: int) -> bytes:
    check = told.get("check", zlib.crc32(payload, zlib.crc32(header)))
    lengths = told.get("header_size", len(header)), told.get("payload_size", len(payload))
    return FRAME_HEADER.pack(MAGIC, *lengths, check) + header + payload


def journal(*more: bytes) -> Maker:
    run = {"document": "run", "value": documents()["run"]}
    return lambda: Frame(run).encode() + b"".join(more)


def rows(names: Any = ("loss",), payload: bytes | None = None, **changed: Any) -> bytes:
    header = {"names": list(names) if isinstance(names, tuple) else names, "start": 0, "stride": 1,
              "buckets": 2} | changed  # fmt: skip
    values = np.arange(2).astype("<i8").tobytes() + np.ones(2).tobytes()
    return frame(dumps(header), values if payload is None else payload)


# Values that no document expects somewhere.

ODD: dict[str, Any] = {
    "null": None, "true": True, "text": "x", "list": [1], "object": {"a": 1}, "nan": float("nan"),
    "inf": float("inf"), "negative": -1, "huge": 10**200, "large": 1e15, "fraction": 0.5,
    "control": "a\x00b\x1b[31m\r\nc", "surrogate": "\ud800", "long": "x" * 100_000,
    "path": "../../etc/passwd", "quote": "' OR 1=1 --", "html": "<script>alert(1)</script>",
    "formula": "=1+1", "digits": "9" * 5000,
}  # fmt: skip
FIELDS = (
    ("run", "key"), ("run", "name"), ("run", "status"), ("run", "started"), ("run", "ended"),
    ("run", "seen"), ("run", "step"), ("run", "samples"), ("run", "epoch"), ("run", "metrics"),
    ("run", "metrics/0"), ("run", "failure"), ("run", "nbdebug"), ("run", "pid"), ("run", "born"),
    ("parameters", "lr"), ("parameters", "optimizer"), ("parameters", "dropout"),
    ("changes", "0"), ("changes", "0/step"), ("changes", "0/control"), ("changes", "0/old"),
    ("changes", "0/new"), ("changes", "0/why"), ("changes", "0/status"), ("changes", "0/epoch"),
    ("notes", "0"), ("notes", "0/step"), ("notes", "0/text"), ("findings", "0"),
    ("findings", "0/title"), ("findings", "0/because"), ("findings", "0/since"),
    ("findings", "0/evidence"), ("findings", "0/remedies"), ("findings", "0/remedies/0/settings"),
    ("findings", "0/value"), ("checks", "0"), ("checks", "0/step"), ("checks", "0/status"),
    ("checks", "0/name"), ("checks", "0/seconds"), ("cells", "0"), ("model", "class"),
    ("model", "layers"), ("model", "layers/0"), ("model", "layers/0/parameters"),
    ("model", "initial_weights"), ("data", "train"), ("data", "train/samples"),
    ("data", "train/parts"), ("data", "train/parts/0/shape"), ("data", "train/parts/0/classes"),
    ("code", "model"), ("code", "git"), ("code", "git/commit"), ("code", "git/diff"),
    ("environment", "python"), ("environment", "packages"), ("environment", "packages/torch"),
)  # fmt: skip


def field_cases() -> Iterator[tuple[str, Maker]]:
    """Every field with every odd value; the values that JSON cannot hold as Python writes them."""
    for name, path in FIELDS:
        for odd, value in ODD.items():
            yield f"{name}/{path}={odd}", with_field(name, path, value)


def document_cases() -> Iterator[tuple[str, Maker]]:
    for name in DOCUMENTS:
        for odd in ("null", "text", "list", "object", "nan", "huge", "long"):
            yield f"{name}={odd}", with_document(name, ODD[odd])
        yield f"{name}=deep", with_bytes(f"{name}.json", b"[" * DEEP + b"]" * DEEP)
        yield (
            f"{name}=deep object",
            with_bytes(f"{name}.json", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        )
        yield f"{name}=empty", with_bytes(f"{name}.json", b"")


def nested_texts(count: int) -> dict[str, Any]:
    """Objects of 400 short texts each."""
    return {f"k{i}": {f"j{j}": ["x"] * 20 for j in range(20)} for i in range(count)}


JSON_CASES: dict[str, Maker] = {
    "a million notes": with_bytes("notes.json", lambda: dumps([{"text": "a"}] * 1_000_000)),
    "empty lists": with_bytes("notes.json", lambda: b"[" + b"[]," * 4_000_000 + b"[]]"),
    "empty objects": with_bytes("checks.json", lambda: b"[" + b"{}," * 4_000_000 + b"{}]"),
    "small objects": with_bytes("checks.json", lambda: b"[" + b'{"a":1},' * 2_000_000 + b"{}]"),
    "many names": with_bytes(
        "environment.json", lambda: dumps({"packages": {str(n): "" for n in range(1_500_000)}})
    ),
    "many short texts": with_bytes("environment.json", lambda: dumps(nested_texts(3000))),
    "as many in notes": with_bytes("notes.json", lambda: dumps([nested_texts(2000)])),
    "one wide text": with_bytes("cells.json", lambda: b'["' + "😀".encode() * 5_000_000),
    "escaped wide text": with_bytes(
        "cells.json", lambda: b'["' + b"\\ud83d\\ude00" * 1_900_000 + b'"]'
    ),
    "quotes without end": with_bytes("cells.json", lambda: b'["' + b'\\"' * 10_000_000),
    "backslashes": with_bytes("cells.json", lambda: b'["' + b"\\" * 20_000_000),
    "spaces": with_bytes("run.json", lambda: b" " * 23_000_000),
    "more spaces": with_bytes("run.json", lambda: b" " * 500_000_000),
    "all documents large": lambda: zipped(
        {**files(), **{f"{n}.json": b'["' + b"a" * 20_000_000 + b'"]' for n in DOCUMENTS}}
    ),
    "a long number": with_bytes("notes.json", lambda: b'[{"step":' + b"1" * 1_000_000 + b"}]"),
    "a long fraction": with_bytes("notes.json", lambda: b'[{"step":0.' + b"1" * 9_000_000 + b"}]"),
    "a large exponent": with_bytes("run.json", b'{"key":"k","started":1e999999999}'),
    "utf-16": with_bytes("run.json", '{"key":"k"}'.encode("utf-16")),
    "utf-32": with_bytes("run.json", '{"key":"k"}'.encode("utf-32")),
    "utf-8 with a mark": with_bytes("run.json", b"\xef\xbb\xbf" + b'{"key":"k2"}'),
    "no utf-8": with_bytes("run.json", b'{"key":"\xff\xfe"}'),
    "zeros": with_bytes("run.json", bytes(1000)),
    "a key twice": with_bytes("run.json", b'{"key":"a","key":"b"}'),
    "text behind": with_bytes("run.json", b'{"key":"a"} {"key":"b"}'),
    "one quote": with_bytes("run.json", b"{'key':'a'}"),
    "python": with_bytes("run.json", b"__import__('os').system('true')"),
    "pickle": with_bytes("run.json", b"\x80\x04cos\nsystem\n."),
    "no key": with_document("run", {"name": "a"}),
    "empty key": with_document("run", {"key": ""}),
    "only a key": with_document("run", {"key": "k3"}),
    "glob key": with_document("run", {"key": "*"}),
    "dots key": with_document("run", {"key": ".."}),
    "hidden key": with_document("run", {"key": ".ssh"}),
    "absolute key": with_document("run", {"key": "/etc/passwd"}),
    "windows key": with_document("run", {"key": "C:\\x"}),
    "long key": with_document("run", {"key": "k" * 300}),
    "key of other digits": with_document("run", {"key": "١٢٣"}),
}
TABLE_CASES: dict[str, Maker] = {
    "monotonous rows": with_table(6_000_000),
    "a column is missing": with_table(mean=None),
    "a column too many": with_table(more=[1, 2, 3]),
    "texts for numbers": with_table(mean=["a", "b", "c"]),
    "whole numbers for floats": with_table(mean=[1, 2, 3]),
    "floats for steps": with_table(step=[0.0, 1.0, 2.0]),
    "lists for numbers": with_table(mean=[[1.0], [2.0], [3.0]]),
    "nested deeply": with_table(mean=[[[[[[1.0]]]]]] * 3),
    "structs": with_table(mean=[{"a": 1.0}] * 3),
    "missing numbers": with_table(mean=[1.0, None, 2.0]),
    "missing names": with_table(series=pa.array(["loss", None, "loss"]).dictionary_encode()),
    "no names": with_table(series=None),
    "names that are numbers": with_table(series=[1, 2, 3]),
    "a name of a megabyte": with_table(3, series=names_column(["x" * 10**6, "y", "z"])),
    "names of control": with_table(3, series=names_column(["a\x00b", "a\nb", "\x1b[31m"])),
    "names of formulas": with_table(3, series=names_column(["=1+1", "@SUM(1)", "<b>"])),
    "a name of paths": with_table(3, series=names_column(["../a", "/etc/passwd", "acc@1"])),
    "empty names": with_table(3, series=names_column(["", " ", "\t"])),
    "a name twice": with_table(3, series=names_column(["loss", "loss", "loss"])),
    "very many names": with_table(
        150_000, series=lambda: names_column([str(n) for n in range(150_000)])()
    ),
    "many names": with_table(20_000, series=names_column([str(n) for n in range(20_000)])),
    "steps that go back": with_table(step=[5, 3, 1]),
    "steps that stand": with_table(step=[1, 1, 1]),
    "negative steps": with_table(step=[-3, -2, -1]),
    "steps without end": with_table(step=[0, 1, 2**63 - 1]),
    "no counts": with_table(count=np.zeros(3, np.int32)),
    "negative counts": with_table(count=np.array([1, -1, 1], np.int32)),
    "largest counts": with_table(count=np.full(3, 2**31 - 1, np.int32)),
    "numbers that are none": with_table(mean=[np.nan, np.inf, -np.inf]),
    "largest numbers": with_table(mean=[1e308, -1e308, 1e308], last=[1e308, 5e-324, -0.0]),
    "no rows": with_table(0, series=names_column([])),
    "gzip pages": with_table(3, {"compression": "gzip"}),
    "brotli pages": with_table(3, {"compression": "brotli"}),
    "lz4 pages": with_table(3, {"compression": "lz4"}),
    "snappy pages": with_table(3, {"compression": "snappy"}),
    "plain pages": with_table(3, {"compression": "none", "use_dictionary": False}),
    "second version of pages": with_table(3, {"data_page_version": "2.0"}),
    "shared prefixes": with_table(
        2000, {"use_dictionary": False, "column_encoding": {"series": "DELTA_BYTE_ARRAY"}},
        series=lambda: pa.array(["x" * 100_000] * 2000),
    ),
    "split bytes": with_table(
        3, {"use_dictionary": False, "column_encoding": {"mean": "BYTE_STREAM_SPLIT"}}
    ),
    "long names again and again": with_table(
        200_000, series=lambda: pa.DictionaryArray.from_arrays(
            np.zeros(200_000, np.int32), pa.array(["x" * 1_000_000])
        ),
    ),
    "a page of zeros": with_table(3, series=names_column(["\0" * 30_000_000, "b", "c"])),
    "many row groups": with_table(500, {"row_group_size": 1}),
    "large metadata": with_bytes("series.parquet", lambda: written(
        table().replace_schema_metadata({"a": "x" * 20_000_000}))),
    "another schema of arrow": with_bytes("series.parquet", lambda: written(
        table().replace_schema_metadata({"ARROW:schema": "AAAA"}))),
    "a page that lies": with_bytes("series.parquet", lying_page),
    "a footer that lies": with_bytes("series.parquet", lying_rows),
    "cut off": with_bytes("series.parquet", lambda: written(table())[:-20]),
    "only a footer": with_bytes("series.parquet", b"PAR1" + b"\x00" * 4 + b"PAR1"),
    "a footer of any size": with_bytes("series.parquet", b"PAR1\xff\xff\xff\x7fPAR1"),
    "encrypted": with_bytes("series.parquet", b"PARE" + bytes(20) + b"PARE"),
    "empty": with_bytes("series.parquet", b""),
    "text": with_bytes("series.parquet", b"series"),
    "an arrow file": with_bytes("series.parquet", b"ARROW1\0\0" + bytes(100) + b"ARROW1"),
    "zeros without end": with_bytes("series.parquet", lambda: bytes(400_000_000)),
}  # fmt: skip
ZIP_CASES: dict[str, Maker] = {
    "a member twice": twice,
    "members inside of others": overlapping,
    "a link": linked,
    "very many members": many_members,
    "an archive in an archive": lambda: nested(5),
    "zip64": zip64,
    "encrypted": patched(DIRECTORY, 8, b"\x01\x00"),
    "strongly encrypted": patched(DIRECTORY, 8, b"\x41\x00"),
    "an unknown method": patched(DIRECTORY, 10, b"\x63\x00"),
    "lzma": lambda: zipped(files(), zipfile.ZIP_LZMA),
    "bzip2": lambda: zipped(files(), zipfile.ZIP_BZIP2),
    "stored": lambda: zipped(files(), zipfile.ZIP_STORED),
    "another checksum": patched(DIRECTORY, 16, b"\x00\x00\x00\x00"),
    "a packed size that lies": patched(DIRECTORY, 20, b"\xff\xff\xff\x7f"),
    "a size that lies": patched(DIRECTORY, 24, b"\xff\xff\xff\x7f"),
    "a size that is too small": patched(DIRECTORY, 24, b"\x01\x00\x00\x00"),
    "a long name": patched(DIRECTORY, 28, b"\xff\xff"),
    "long extra fields": patched(DIRECTORY, 30, b"\xff\xff"),
    "another disk": patched(DIRECTORY, 34, b"\x01\x00"),
    "an offset that lies": patched(DIRECTORY, 42, b"\xff\xff\xff\x7f"),
    "a broken directory": patched(DIRECTORY, 0, b"XX"),
    "another local name": patched(LOCAL, 30, b"x"),
    "a broken local header": patched(LOCAL, 0, b"XX"),
    "several disks": patched(END, 4, b"\x01\x00"),
    "more members than there are": patched(END, 10, b"\xff\xff"),
    "fewer members than there are": patched(END, 8, b"\x01\x00\x01\x00"),
    "a large directory": patched(END, 12, b"\xff\xff\xff\x7f"),
    "a directory elsewhere": patched(END, 16, b"\x00\x00\x00\x00"),
    "a comment that is not there": patched(END, 20, b"\xff\xff"),
    "bytes before": lambda: b"#!/bin/sh\n" + zipped(files()),
    "bytes behind": lambda: zipped(files()) + b"more",
    "an end twice": lambda: zipped(files()) + zipped({}),
    "two archives": lambda: zipped(files()) + zipped(files()),
    "cut in the middle": lambda: zipped(files())[: len(zipped(files())) // 2],
    "cut at the end": lambda: zipped(files())[:-1],
    "no members": lambda: zipped({}),
    "only an end": lambda: END + bytes(18),
    "only a beginning": lambda: LOCAL,
    "only folders": lambda: zipped({"run.json/": b"", "a/": b""}),
    "capitals": lambda: zipped({name.upper(): data for name, data in files().items()}),
    "in a folder": lambda: zipped({f"run/{name}": data for name, data in files().items()}),
    "names of paths": lambda: zipped({**files(), "../a": b"x", "/b": b"x", "C:\\c": b"x"}),
    "names with zeros": lambda: zipped({**files(), "a.json\0b": b"x"}),
    "names of no alphabet": lambda: zipped({**files(), "\ud7ff\U0010ffff": b"x"}),
    "without series": lambda: zipped({n: d for n, d in files().items() if n[-1] != "t"}),
    "only series": lambda: zipped({n: d for n, d in files().items() if n[-1] == "t"}),
    "nothing": lambda: b"",
    "one byte": lambda: b"P",
    "tar": lambda: b"run.json" + bytes(249) + b"ustar" + bytes(1000),
    "gzip": lambda: zlib.compress(b"run"),
}
JOURNAL_CASES: dict[str, Maker] = {
    "a journal": journal(rows()),
    "a header that lies": journal(frame(b"{}", header_size=2**32 - 1)),
    "a payload that lies": journal(frame(b"{}", payload_size=2**32 - 1)),
    "another checksum": journal(frame(b"{}", check=1)),
    "no JSON": journal(frame(b"{")),
    "no object": journal(frame(b"[1]")),
    "no UTF-8": journal(frame(b"\xff")),
    "deep": journal(frame(b"[" * DEEP)),
    "a deep document": journal(
        frame(b'{"document":"notes","value":' + b"[" * 900 + b"]" * 900 + b"}")
    ),
    "many values": journal(frame(b'{"list":"cells","from":0,"rows":[' + b"{}," * 10**6 + b"{}]}")),
    "an unknown frame": journal(frame(b'{"a":1}')),
    "an unknown document": journal(frame(b'{"document":"passwords","value":[]}')),
    "a document that is a list": journal(frame(b'{"document":["run"],"value":[]}')),
    "a document without a value": journal(frame(b'{"document":"notes"}')),
    "a list that is an object": journal(
        frame(b'{"document":"notes","value":{}}'), frame(b'{"list":"notes","from":0,"rows":[]}')
    ),
    "a list of the run": journal(frame(b'{"list":"run","from":0,"rows":[]}')),
    "a list that is a number": journal(frame(b'{"list":1,"from":0,"rows":[]}')),
    "rows that are text": journal(frame(b'{"list":"notes","from":0,"rows":"abc"}')),
    "rows from nowhere": journal(frame(b'{"list":"notes","rows":[]}')),
    "rows from before": journal(frame(b'{"list":"notes","from":-1,"rows":[1]}')),
    "rows from far": journal(frame(b'{"list":"notes","from":99999999999,"rows":[]}')),
    "rows from a text": journal(frame(b'{"list":"notes","from":"0","rows":[]}')),
    "rows of numbers": journal(frame(b'{"list":"notes","from":0,"rows":[1,2]}')),
    "names that are text": journal(rows("loss")),
    "names that are numbers": journal(rows([1])),
    "names that are missing": journal(rows(None)),
    "too many names": journal(rows(["a", "b"])),
    "no series": journal(rows([])),
    "names without rows": journal(rows([str(n) for n in range(200_000)], b"", buckets=0)),
    "a name twice": journal(rows(["a", "a"], np.arange(2).tobytes() + bytes(32))),
    "negative buckets": journal(rows(buckets=-1)),
    "too many buckets": journal(rows(buckets=10**12)),
    "buckets that are text": journal(rows(buckets="2")),
    "buckets that are true": journal(rows(buckets=True)),
    "no stride": journal(rows(stride=0)),
    "a negative stride": journal(rows(stride=-1)),
    "a huge stride": journal(rows(stride=2**62)),
    "a huge start": journal(rows(start=2**62)),
    "a start that is a fraction": journal(rows(start=0.5)),
    "another stride": journal(rows(stride=2)),
    "negative counts": journal(rows(
        stride=2, payload=np.arange(2).tobytes() + bytes(64) + np.array([-1, 1], "<i4").tobytes()
    )),
    "negative steps": journal(rows(payload=np.array([-2, -1]).tobytes() + bytes(16))),
    "steps that go back": journal(rows(payload=np.array([9, 1]).tobytes() + bytes(16))),
    "too few bytes": journal(rows(payload=bytes(3))),
    "another run": journal(frame(dumps({"document": "run", "value": {"key": "../x"}}))),
    "a run that is a list": journal(frame(b'{"document":"run","value":[]}')),
    "a run that is none": journal(frame(b'{"document":"run","value":null}')),
    "very many frames": journal(rows() * 3000),
    "only a header": lambda: FRAME_HEADER.pack(MAGIC, 0, 0, 0),
    "an unknown list": journal(frame(b'{"list":["notes"],"from":0,"rows":[]}')),
    "only a magic number": lambda: MAGIC,
    "zeros": lambda: bytes(10_000_000),
}  # fmt: skip


# Made in more than half a second.
SLOW = {
    "json: a million notes", "json: many names", "json: more spaces", "json: all documents large",
    "table: monotonous rows", "table: zeros without end", "table: shared prefixes",
    "table: large metadata", "table: a page of zeros",
}  # fmt: skip


def cases() -> dict[str, Maker]:
    """All but the single fields, by name."""
    parts = {"json": JSON_CASES, "table": TABLE_CASES, "zip": ZIP_CASES, "journal": JOURNAL_CASES,
             "document": dict(document_cases())}  # fmt: skip
    return {
        f"{part}: {name}": make for part, found in parts.items() for name, make in found.items()
    }
