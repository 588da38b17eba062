from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, Phase, settings

from tools.chromium import find_chromium

pytest_plugins = ["tests.widgets"]

# The same examples in every run; `make soak` draws many more, and new ones each time.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
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


# Of what `make test` draws, one case of one test function in this many, and all of those that look
# at the code itself, are quick together: the others count as slow. `make most` leaves none of them
# out.
QUICK_SHARE = 3
# `make test` draws from tests of so many cases one in ten, of those in the browser one in two, and
# of others that are slow one in four: the same ones each time. Tests marked `whole` always run.
MANY_CASES, DRAWN_SHARE, BROWSER_SHARE, SLOW_SHARE = 4, 10, 2, 4


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--drawn",
        action="store_true",
        help="a tenth of the cases where there are many, some of what is slow: make test",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what `make soak` runs alone, and what takes long together in `make test`."""
    for item in _not_drawn(items):
        item.add_marker("long")
    if config.getoption("--drawn"):
        for item in _not_quick(items):
            item.add_marker("slow")
        left_out = {item for item in items if item.get_closest_marker("long")}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def _number(item: pytest.Item) -> int:
    """Number of a test by its name, so that the same ones are chosen each time."""
    return zlib.crc32(item.nodeid.encode(errors="backslashreplace"))


def _by_function(items: list[pytest.Item]) -> list[list[pytest.Item]]:
    """Cases of each test function, but for those that look at the code itself."""
    found: dict[tuple[Path, str], list[pytest.Item]] = {}
    for item in items:
        if "codebase" not in item.path.parts:
            name = getattr(item, "originalname", item.name)
            found.setdefault((item.path, name), []).append(item)
    return list(found.values())


def _not_quick(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """All cases but one of each test function, and all of most functions."""
    for cases in _by_function(items):
        first, *others = sorted(cases, key=_number)
        yield from others if _number(first) % QUICK_SHARE == 0 else cases


def _not_drawn(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Most cases of the tests that have many, and most of the tests that are slow."""
    drawn = [item for item in items if not item.get_closest_marker("whole")]
    for cases in _by_function(drawn):
        if len(cases) >= MANY_CASES:
            yield from sorted(cases, key=_number)[-(-len(cases) // DRAWN_SHARE) :]
            continue
        slow = cases[0].get_closest_marker("slow") and SLOW_SHARE
        share = (cases[0].get_closest_marker("browser") and BROWSER_SHARE) or slow or 1
        yield from (item for item in cases if _number(item) % share)


@pytest.fixture(autouse=True)
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves a record beside it but for those that name a place for it."""
    monkeypatch.setenv("NBDEBUG_RUNS", "off")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def made_store(base: Path) -> Path:
    """A database with MLflow's tables and nothing in them, for all workers.

    In a process of its own, since Alembic cannot make two at once in one process.
    """
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    file = folder / "empty.db"
    program = (
        "import mlflow, sys; store = mlflow.MlflowClient(sys.argv[1]); "
        "store.get_experiment_by_name('nbdebug')"
    )
    with FileLock(folder / "empty.lock"):
        if not file.exists():
            made = folder / "empty.db.part"
            command = [sys.executable, "-c", program, f"sqlite:///{made}"]
            subprocess.run(command, check=True, capture_output=True)
            made.rename(file)
    return file


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them."""
    return made_store(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session", autouse=True)
def quickly_made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stores that this process makes are copies of one: MLflow takes seconds for each."""
    from tests.inside import make_stores_from

    with pytest.MonkeyPatch.context() as patch:
        make_stores_from(lambda: made_store(tmp_path_factory.getbasetemp()), patch)
        yield


@pytest.fixture
def made_by_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the making itself."""
    from tests.inside import make_stores_from

    make_stores_from(None, monkeypatch)


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> Path:
    """A database of runs of this test alone."""
    file = tmp_path / "runs.db"
    shutil.copy(empty_store, file)
    return file


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
