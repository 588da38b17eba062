"""Reads every hostile archive with little memory; prints those that took more, or too long."""

from __future__ import annotations

import gc
import resource
import sys
import time
from pathlib import Path

import pyarrow.parquet  # noqa: F401

from nbdebug.errors import RunStoreError
from nbdebug.runs.store.imports.run_file import read_run_file
from tests.runs.record.archives import Maker, cases, field_cases

MEMORY_BYTES, SECONDS = 200_000_000, 10.0


def address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def read(name: str, make: Maker, path: Path) -> None:
    path.write_bytes(make())
    gc.collect()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + MEMORY_BYTES, hard))
    start, said = time.monotonic(), "read"
    try:
        read_run_file(path)
    except RunStoreError as error:
        said = str(error)
    except BaseException as error:
        said = f"RAISED {error!r}"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    took = time.monotonic() - start
    if said.startswith("RAISED") or "MemoryError" in said or "malloc" in said or took > SECONDS:
        print(f"{name}: {took:.1f} s: {said[:200]}")


def main(folder: Path, fields: bool) -> None:
    every = {**cases(), **(dict(field_cases()) if fields else {})}
    # What is there already needs no look at each collection.
    gc.freeze()
    for name, make in every.items():
        read(name, make, folder / "run.zip")
    print("done", len(every))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["fields"])
