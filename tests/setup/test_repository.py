"""The repository is named the same everywhere, and a fork names its own by one command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.repository import FILES, ROOT, current, main, rename


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_a_fork_is_named_in_every_file(copy: Path) -> None:
    old = current(copy)
    assert rename("some-one/a.fork", copy) == list(FILES)
    assert current(copy) == "some-one/a.fork"
    for file in FILES:
        text = (copy / file).read_text(encoding="utf-8")
        assert f"github.com/{old}" not in text
        assert f"/gh/{old}/" not in text
    badge = (copy / "README.md").read_text(encoding="utf-8")
    assert "mybinder.org/v2/gh/some-one/a.fork/HEAD?urlpath=lab/tree/notebooks/" in badge
    # And back, to the bit.
    rename(old, copy)
    for file in FILES:
        assert (copy / file).read_bytes() == (ROOT / file).read_bytes()


def test_no_other_file_names_it() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not listed:
        pytest.skip("not a clone")
    address = f"github.com/{current()}"
    texts = (".md", ".toml", ".cff", ".py", ".yml", ".yaml", ".ipynb")
    named = {
        file
        for file in listed
        if file.endswith(texts)
        and (ROOT / file).is_file()
        and address in (ROOT / file).read_text(encoding="utf-8")
    }
    assert named <= set(FILES)


@pytest.mark.parametrize("arguments", [["name"], ["a/b", "c/d"], ["https://x/y"], ["../x"]])
def test_another_form_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="OWNER/NAME"):
        main(arguments)
