"""README and docs: short, with tables from the classes, code that runs and names that exist."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug import examples, testing
from nbdebug.controls.base import Control
from nbdebug.core.plugins import discover
from nbdebug.debugger.attached.attached import Attached
from nbdebug.debugger.own_loop.watch import Watch
from tests.problems import blobs, tiny_mlp
from tools import docs_tables
from tools.site.staging import markdown_pages, python_blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = markdown_pages()
GUIDES = [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]

# Files and folders in backticks.
PATH = re.compile(r"`((?:[\w.-]+/)*(?:[\w-]+/|[\w-]+\.(?:py|md|ipynb|toml|txt)))`")
PLACES = (ROOT, ROOT / "nbdebug", ROOT / "docs", ROOT / "tests")
# Packages of pages that are skipped without them.
TRAINERS = {"accelerate", "lightning", "transformers"}
# Written by users, not by us.
FOREIGN = ("nbdebug-checkpoints/", "my_package/", "pyproject.toml")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def dbg() -> Iterator[nbd.Debugger]:
    X, y = blobs()
    with nbd.Debugger(tiny_mlp(), (X, y), nn.CrossEntropyLoss(), runs=None) as made:
        yield made


@pytest.mark.parametrize("name", docs_tables.tables())
def test_tables_are_those_of_the_classes(name: str) -> None:
    page = ROOT / "docs" / name
    wanted = docs_tables.render(text(page), docs_tables.tables()[name])
    assert wanted == text(page), "The tables are stale: run `make docs`."


def test_a_stale_table_is_noticed() -> None:
    page = text(ROOT / "docs" / "controls.md")
    stale = page.replace("| `lr` |", "| `lernrate` |")
    assert stale != page
    assert docs_tables.render(stale, docs_tables.tables()["controls.md"]) == page


def test_lost_markers_are_named() -> None:
    with pytest.raises(SystemExit, match="markers for probes"):
        docs_tables.fill("nothing", "probes", "")


def test_the_readme_and_the_guide_are_short() -> None:
    assert len(text(README).splitlines()) <= 150
    assert len(text(ROOT / "CONTRIBUTING.md").splitlines()) < 60


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_links_to_files_are_alive(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text(page))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_index_lists_every_page_and_notebook() -> None:
    index = text(ROOT / "docs" / "index.md")
    links = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([^)]+)\)", index)}
    listed = {*(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")}
    assert listed - {ROOT / "docs" / "index.md"} <= links


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_commands_are_words_of_the_makefile(page: Path) -> None:
    makefile = text(ROOT / "Makefile")
    words = re.findall(r"(?:^ *|`)make ([a-z]+)", text(page), re.MULTILINE)
    assert [word for word in words if not re.search(rf"^{word}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_paths_exist(page: Path) -> None:
    paths = [path for path in PATH.findall(text(page)) if not path.startswith(FOREIGN)]
    missing = [path for path in paths if not any((place / path).exists() for place in PLACES)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_names_of_the_debugger_and_of_the_package_exist(page: Path, dbg: nbd.Debugger) -> None:
    for owner, of in (("dbg", dbg), ("nbd", nbd), ("testing", testing), ("examples", examples)):
        used = set(re.findall(rf"\b{owner}\.(\w+)", text(page)))
        known = {*dir(of), *vars(of), *((*dir(Watch), *dir(Attached)) if of is dbg else ())}
        # `testing.check_...` stands for all of them.
        assert {name for name in used if not name.endswith("_")} <= known, owner


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_keywords_exist(page: Path) -> None:
    controls = {control.name for control in discover("nbdebug.controls", Control)}
    own = {"epsilon", "why", "steps", "epochs", "at"}
    for code in python_blocks(page):
        for call in ast.walk(ast.parse(code)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("dbg.set", "dbg.fork"):
                assert {word.arg for word in call.keywords} <= controls | own


# Of the packages of trainers, when they are imported.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=named)
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = set(re.findall(r"^import (\w+)", "\n".join(python_blocks(page)), re.MULTILINE))
    for package in needed & TRAINERS:
        pytest.importorskip(package)
        # Trainers warn of much that a page does not tell.
        warnings.simplefilter("ignore")
    monkeypatch.chdir(tmp_path)
    if "runs" in "".join(python_blocks(page)):
        monkeypatch.setenv("NBDEBUG_RUNS", str(tmp_path / "runs.db"))
    (X, y), (Xv, yv) = blobs(seed=7), blobs(seed=8)
    space: dict[str, Any] = {
        "nbd": nbd, "torch": torch, "nn": nn, "model": tiny_mlp(),
        "X": X, "y": y, "Xv": Xv, "yv": yv,
        "loss_fn": nn.CrossEntropyLoss(), "loader": DataLoader(TensorDataset(X, y), 8),
    }  # fmt: skip
    space["optimizer"] = torch.optim.SGD(space["model"].parameters(), lr=0.1)
    made = nbd.Debugger(tiny_mlp(), (X, y), space["loss_fn"], val_data=(Xv, yv), lr=0.1)
    made.run(steps=100)
    space["dbg"] = made
    try:
        for code in python_blocks(page):
            program = compile(code, named(page), "exec")
            if "try_remedy" in code:
                with examples.sick()["learning rate far too small"].debugger() as sick:
                    sick.run(steps=150)
                    exec(program, {**space, "dbg": sick})
            else:
                exec(program, space)
    finally:
        for one in {id(one): one for one in (made, space["dbg"])}.values():
            one.close()


# What the script on the page of ranks takes for granted.
BEFORE_RANKS = """
import torch, torch.distributed as dist, nbdebug as nbd
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
torch.manual_seed(0)
net, data = nn.Linear(4, 2), TensorDataset(torch.randn(32, 4), torch.arange(32) % 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
sampler = DistributedSampler(data, num_replicas=2, rank=int(__import__("os").environ["RANK"]))
loader = DataLoader(data, 8, sampler=sampler)
"""
STEP = """optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()"""
AFTER_RANKS = """print("steps", len(dbg.history.frame("loss")))
dbg.close()
dist.destroy_process_group()
"""


def test_every_block_of_python_is_run_but_for_those_of_fastai() -> None:
    fences = {
        named(page): set(re.findall(r"^```(py.*)$", text(page), re.MULTILINE)) for page in GUIDES
    }
    others = {page: kinds - {"python"} for page, kinds in fences.items() if kinds - {"python"}}

    # The first runs on two ranks, below; fastai is not among the packages of the tests.
    assert others == {"docs/ranks.md": {"python no-run"}, "docs/trainers_more.md": {"py"}}
    assert {page for page in GUIDES if "python" in fences[named(page)]} <= set(PAGES)
    for code in re.findall(r"```py\n(.*?)```", text(ROOT / "docs" / "trainers_more.md"), re.DOTALL):
        compile(code.replace("%%nbd\n", ""), "trainers_more.md", "exec")


@pytest.mark.slow
def test_the_script_of_several_ranks_runs_on_two(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"```python no-run\n(.*?)```", text(ROOT / "docs" / "ranks.md"), re.DOTALL
    )
    script = tmp_path / "train.py"
    script.write_text(f"{BEFORE_RANKS}{block.replace('...', STEP)}\n{AFTER_RANKS}")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", str(script)]
    kept = {**os.environ, "PYTHONPATH": str(ROOT), "NBDEBUG_RUNS": "off", "OMP_NUM_THREADS": "1"}

    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("steps 20") == 2, done.stdout


def test_the_code_map_has_every_room() -> None:
    rooms = {
        path.name
        for path in (ROOT / "nbdebug").iterdir()
        if path.is_dir() and (path / "__init__.py").exists()
    }
    guide = text(ROOT / "CONTRIBUTING.md")
    assert {room for room in rooms if f"`{room}/`" not in guide} == set()
    assert {room for room in re.findall(r"\| `(\w+)/` \|", guide) if room not in rooms} == set()
