from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, Phase, settings

from tools.chromium import find_chromium

pytest_plugins = ["tests.widgets"]

# The same examples in every run; `make soak` draws many more, and new ones each time.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    phases=[Phase.explicit, Phase.generate, Phase.target, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "soak", settings.get_profile("default"), derandomize=False, max_examples=4000
)
# A shell starts jobs in the background with SIGINT ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


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
