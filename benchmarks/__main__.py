"""Prints the table of what nbdebug costs."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from benchmarks import cost, gpu, growth, large, memory, recording, rules, transport, travel
from benchmarks.peers import table as peers
from benchmarks.table import Row, render
from benchmarks.workloads import WORKLOADS, Workload

Chosen = Sequence[Workload]


def _timeline(chosen: Chosen, quick: bool) -> Iterator[Row]:
    for workload in chosen:
        yield from travel.checkpoints(workload, quick)
    yield travel.rewind(WORKLOADS[0], quick)


def _recording(chosen: Chosen, quick: bool) -> Iterator[Row]:
    for workload in chosen:
        yield recording.recorded(workload, quick)
    if WORKLOADS[0] in chosen:
        yield from recording.store_of_many(quick)


def _transport(chosen: Chosen, quick: bool) -> Iterator[Row]:
    yield from transport.ticks(quick)
    yield transport.latency(quick)


def _peers(chosen: Chosen, quick: bool) -> Iterator[Row]:
    for workload in chosen:
        yield from peers.measure(workload, 3 if quick else 8)


PARTS: dict[str, Callable[[Chosen, bool], Iterator[Row]]] = {
    "cost": lambda chosen, quick: (cost.measure(w, False, quick) for w in chosen),
    "loops": lambda chosen, quick: (cost.watched(w, quick) for w in chosen),
    "dashboard": lambda chosen, quick: (cost.measure(w, True, quick) for w in chosen),
    "view": lambda chosen, quick: (cost.viewed(w, quick) for w in chosen),
    "clipping": lambda chosen, quick: (cost.adaptive_clipping(w, quick) for w in WORKLOADS[:1]),
    "timeline": _timeline,
    "rules": lambda chosen, quick: (row for w in chosen for row in rules.asked(w, quick)),
    "recording": _recording,
    "transport": _transport,
    "memory": lambda chosen, quick: iter(memory.measure(quick)),
    "large": lambda chosen, quick: large.measure(quick),
    "peers": _peers,
    "growth": lambda chosen, quick: growth.measure(quick),
    "gpu": gpu.measure,
}
# Peers need packages of their own, a GPU is seldom there, and the slopes of growth have no bars.
ONLY_BY_NAME = ("peers", "growth", "gpu")
# Workloads of a quick run, which takes the cost of all of them.
USUAL_SAMPLE, SAMPLE = (WORKLOADS[0], WORKLOADS[2]), {"peers": WORKLOADS[:1]}


def main() -> None:
    # Only what is said to be recorded is.
    os.environ["NBDEBUG_RUNS"] = "off"
    arguments = _arguments()
    torch.set_num_threads(1)
    rows, begun = [], time.monotonic()
    for row in _measure(arguments):
        rows.append(row)
        print(f"{row.what}: {row.median:.3f} {row.unit} {row.note}", file=sys.stderr, flush=True)
    print(render(rows))
    minutes, load = (time.monotonic() - begun) / 60, os.getloadavg()
    print(f"\n{minutes:.0f} minutes; load at the end {load[0]:.1f}, over 15 minutes {load[2]:.1f}")


def _measure(arguments: argparse.Namespace) -> Iterator[Row]:
    if arguments.browser is not None or arguments.away is not None:
        # Playwright and JupyterLab are needed for this part alone.
        from benchmarks import stream

        if arguments.away is not None:
            yield from stream.away(arguments.away)
        else:
            yield from stream.measure(arguments.browser)
        return
    chosen = [workload for workload in WORKLOADS if arguments.only in workload.name]
    for part in arguments.parts:
        few = arguments.quick and not arguments.only and part not in ("cost", "view")
        yield from PARTS[part](SAMPLE.get(part, USUAL_SAMPLE) if few else chosen, arguments.quick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    usual = [part for part in PARTS if part not in ONLY_BY_NAME]
    parser.add_argument(
        "parts", nargs="*", default=usual, metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a sample of the blocks")
    parser.add_argument("--only", default="", metavar="TEXT", help="in names of workloads")
    parser.add_argument(
        "--browser",
        nargs="?",
        type=float,
        const=10.0,
        metavar="MINUTES",
        help="stream to a real JupyterLab in Chromium instead, 10 minutes when not said",
    )
    parser.add_argument(
        "--away",
        type=float,
        metavar="MINUTES",
        help="train in a real JupyterLab whose page is closed meanwhile, and compare the plots",
    )
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: there are {', '.join(PARTS)}")
    return arguments


if __name__ == "__main__":
    main()
