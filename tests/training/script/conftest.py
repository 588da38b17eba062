"""One process in which scripts are run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training.script.script_host import ScriptHost


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptHost]:
    made = ScriptHost(tmp_path_factory.mktemp("host"))
    yield made
    made.close()
