"""Memory of a kernel that runs the quickstart, in a fresh install."""

from __future__ import annotations

import json
from pathlib import Path

from tools.footprint.installs import Install

# Resident memory of the kernel's process now, and at its highest so far.
ASK = """
import psutil, resource, sys
unit = 1 if sys.platform == "darwin" else 1024
highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print({moment!r}, psutil.Process().memory_info().rss, highest)
"""
IMPORTED, DONE, PEAK = "after the imports", "after the quickstart", "at its highest"


def memory(fresh: Install) -> dict[str, int]:
    """Bytes of resident memory, by moment."""
    notebook = _quickstart(fresh)
    fresh.run(fresh.python, "-m", "jupyter", "execute", "--inplace", notebook, cwd=notebook.parent)
    said = _printed(json.loads(notebook.read_text(encoding="utf-8")))
    found = {line.rsplit(" ", 2)[0]: [int(part) for part in line.split()[-2:]] for line in said}
    return {IMPORTED: found[IMPORTED][0], DONE: found[DONE][0], PEAK: found[DONE][1]}


def _quickstart(fresh: Install) -> Path:
    """A copy of the quickstart that asks for memory after its first and its last cell."""
    source = fresh.clone / "notebooks" / "01_quickstart.ipynb"
    notebook = json.loads(source.read_text(encoding="utf-8"))
    code = [at for at, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code"]
    asking: dict[str, object] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    for at, moment in ((len(notebook["cells"]), DONE), (code[0] + 1, IMPORTED)):
        cell = {**asking, "id": f"memory-{at}", "source": ASK.format(moment=moment)}
        notebook["cells"].insert(at, cell)
    copy = fresh.clone.parent / "quickstart.ipynb"
    copy.write_text(json.dumps(notebook), encoding="utf-8")
    return copy


def _printed(notebook: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[str]:
    """Lines that the asking cells printed."""
    lines = [
        line
        for cell in notebook["cells"]
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream"
        for line in "".join(output["text"]).splitlines()
    ]
    return [line for line in lines if line.startswith((IMPORTED, DONE))]
