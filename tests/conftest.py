from __future__ import annotations

import os

import pytest

from tools.chromium import find_chromium

pytest_plugins = ["tests.widgets"]


@pytest.fixture(autouse=True)
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves a record beside it but for those that name a place for it."""
    monkeypatch.setenv("NBDEBUG_RUNS", "off")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; without one browser tests are skipped, but fail where CI=true."""
    path = find_chromium()
    if path is not None:
        return path
    reason = "There is no Chromium: install Debian's chromium or set CHROMIUM to one."
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
