"""Builds the documentation site; `make site` runs it.

Usage: python -m tools.site [--execute] [--out FOLDER]. Warnings are errors, as are dead links and
files that a page would load from elsewhere. With `--execute` the notebooks are run first.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.site import check_examples, notebooks
from tools.site.links import LinkReport, check_links
from tools.site.pictures import picture
from tools.site.plugin_pages import KINDS, ROOT, Kind
from tools.site.staging import markdown_pages, python_blocks, stage

CONFIGURATION = Path(__file__).parent
OUT = ROOT / "build" / "site"


def build(out: Path, execute: bool = False) -> LinkReport:
    """Build the site into a folder, which is emptied before.

    Raises:
        subprocess.CalledProcessError: Sphinx has an error or a warning; it is printed.
    """
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        shown, pages = notebooks.FOLDER, Path(place) / "pages"
        if execute:
            shown = Path(place) / "notebooks"
            shown.mkdir()
            notebooks.execute(shown)
        pages.mkdir()
        stage(pages, shown)
        options = ["-b", "html", "-W", "--keep-going", "-q", "-c", str(CONFIGURATION)]
        doctrees = ["-d", str(Path(place) / "doctrees")]
        command = [sys.executable, "-m", "sphinx", *options, *doctrees, str(pages), str(out)]
        subprocess.run(command, cwd=ROOT, check=True)
    return check_links(out)


def _pictures(kind: Kind) -> int:
    return sum(picture(plugin) is not None for plugin in kind.plugins.values())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.site")
    parser.add_argument("--execute", action="store_true", help="run the notebooks first")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the site")
    given = parser.parse_args()
    begun = time.monotonic()
    try:
        report = build(given.out, given.execute)
    except subprocess.CalledProcessError as error:
        sys.exit(f"Sphinx ended with {error.returncode}: see its warnings above.")
    blocks = sum(len(python_blocks(path)) for path in markdown_pages())
    kinds = ", ".join(f"{len(kind.plugins)} {kind.folder}" for kind in KINDS)
    print(f"{report.pages} pages, of them {kinds}")
    shown = ", ".join(f"{_pictures(kind)} of {kind.folder}" for kind in KINDS)
    print(f"pictures: {shown}; {len(check_examples.found())} checks show a row of a report")
    print(
        f"{report.internal} links inside, {len(report.dead)} dead; {report.external} to elsewhere"
    )
    print(f"{blocks} blocks of Python, executed by tests/codebase/test_docs.py")
    print(f"{time.monotonic() - begun:.0f} s: {given.out / 'index.html'}")
    if report.dead or report.remote:
        sys.exit("\n".join(["Dead links, or loaded from elsewhere:", *report.dead, *report.remote]))


if __name__ == "__main__":
    main()
