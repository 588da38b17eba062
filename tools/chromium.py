"""Finds the Chromium that browser tests drive; as a command, prints its path."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Path of `$CHROMIUM`, a system browser or Playwright's own; None when there is none."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        path = shutil.which(name)
        if path:
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


if __name__ == "__main__":
    found = find_chromium()
    if found is None:
        sys.exit("There is no Chromium; install Debian's chromium or set CHROMIUM to one.")
    print(found)
