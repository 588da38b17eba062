"""Prints the table of what nbdebug costs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

import torch

from benchmarks import cost, memory, recording, rules, transport, travel
from benchmarks.table import Row, render
from benchmarks.workloads import WORKLOADS

PARTS = (
    "cost", "loops", "dashboard", "clipping", "timeline", "rules", "recording", "transport",
    "memory",
)  # fmt: skip


def main() -> None:
    # Only what is said to be recorded is.
    os.environ["NBDEBUG_RUNS"] = "off"
    arguments = _arguments()
    torch.set_num_threads(1)
    rows = []
    for row in _measure(arguments):
        rows.append(row)
        print(f"{row.what}: {row.median:.3f} {row.unit}", file=sys.stderr, flush=True)
    print(render(rows))


def _measure(arguments: argparse.Namespace) -> Iterator[Row]:
    quick = arguments.quick
    if arguments.browser is not None:
        # Playwright and JupyterLab are needed for this part alone.
        from benchmarks import stream

        yield from stream.measure(arguments.browser)
        return
    if "cost" in arguments.parts:
        for workload in WORKLOADS:
            if arguments.only in workload.name:
                yield cost.measure(workload, dashboard=False, quick=quick)
    if "loops" in arguments.parts:
        for workload in WORKLOADS:
            if arguments.only in workload.name:
                yield cost.watched(workload, quick)
    if "dashboard" in arguments.parts:
        for workload in WORKLOADS:
            if arguments.only in workload.name:
                yield cost.measure(workload, dashboard=True, quick=quick)
    if "clipping" in arguments.parts:
        yield cost.adaptive_clipping(WORKLOADS[0], quick)
    if "timeline" in arguments.parts:
        for workload in WORKLOADS:
            if arguments.only in workload.name:
                yield from travel.checkpoints(workload, quick)
        yield travel.rewind(WORKLOADS[0], quick)
    if "rules" in arguments.parts:
        for workload in WORKLOADS:
            if arguments.only in workload.name:
                yield from rules.asked(workload, quick)
    if "recording" in arguments.parts:
        for workload in WORKLOADS:
            if arguments.only in workload.name:
                yield recording.recorded(workload, quick)
        if not arguments.only:
            yield from recording.store_of_many(quick)
    if "transport" in arguments.parts:
        yield from transport.ticks(quick)
        yield transport.latency(quick)
    if "memory" in arguments.parts:
        yield from memory.measure(quick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the blocks")
    parser.add_argument("--only", default="", metavar="TEXT", help="in names of workloads")
    parser.add_argument(
        "--browser",
        nargs="?",
        type=float,
        const=10.0,
        metavar="MINUTES",
        help="stream to a real JupyterLab in Chromium instead, 10 minutes when not said",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
