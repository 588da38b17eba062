"""The name that nbdebug is installed by, what an install brings, and what a wheel holds."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from nbdebug._version import DISTRIBUTION, __version__, install_line
from nbdebug.runs.record.store_packages import DATABASE

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
WHERE = ("nbdebug", "notebooks", "docs", "binder", "tools", "benchmarks", ".github", ".")
KINDS = (".py", ".md", ".ipynb", ".yml", ".yaml", ".toml", ".js", ".cff", "")
# `nbdebug[lab]` and `pip install nbdebug`, but not `nbdebug-torch` and no name in brackets.
FOREIGN = re.compile(r"\bnbdebug\[[a-z]+(?:,[a-z]+)*\]|pip3? install [^\n`#]*?\bnbdebug\b(?![-./])")


def texts() -> dict[str, str]:
    """Every text that may tell a user how to install something, by its path."""
    paths = [
        path
        for folder in WHERE
        for path in (ROOT / folder).glob("*" if folder == "." else "**/*")
        if path.is_file() and path.suffix in KINDS and "__pycache__" not in path.parts
    ]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def lowest(requirement: Requirement) -> str:
    """The version of a lower bound."""
    (found,) = (one.version for one in requirement.specifier if one.operator == ">=")
    assert {one.operator for one in requirement.specifier} <= {">=", "<"}
    return found


def requirements() -> dict[str, str]:
    """Lower bounds of what is installed for users and for tests, by name."""
    lines = [*PROJECT["dependencies"], *PYPROJECT["dependency-groups"]["test"]]
    lines += [line for extra in EXTRAS.values() for line in extra]
    parsed = [Requirement(line) for line in lines]
    return {one.name.lower(): lowest(one) for one in parsed if one.name != DISTRIBUTION}


def test_the_name_is_that_of_the_project() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert install_line("runs") == f'pip install "{DISTRIBUTION}[runs]"'


@pytest.mark.parametrize(
    ("line", "is_foreign"),
    [
        ("pip install nbdebug", True),
        ('pip install "nbdebug[lab]"', True),
        ("pip install -U torch nbdebug", True),
        ("nbdebug[lab,comet]", True),
        ('pip install "nbdebug-torch[lab]"', False),
        ("pip install nbdebug-torch", False),
        ("[nbdebug]", False),
    ],
)
def test_a_line_that_installs_the_other_project_is_known(line: str, is_foreign: bool) -> None:
    assert bool(FOREIGN.search(line)) is is_foreign


def test_no_text_installs_the_other_project() -> None:
    found = {name: FOREIGN.findall(text) for name, text in texts().items()}

    assert "README.md" in found
    assert "nbdebug/runs/exporters/comet.py" in found
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_every_extra_that_is_named_exists() -> None:
    named = {
        extra
        for text in texts().values()
        for group in re.findall(rf"{DISTRIBUTION}\[([a-z,]+)\]", text)
        + re.findall(r"install_line\(['\"](\w+)['\"]\)", text)
        for extra in group.split(",")
    }

    assert {"runs", "lab", "comet", "tensorboard"} <= named
    assert named <= set(EXTRAS)


def test_the_version_does_not_depend_on_what_is_installed() -> None:
    package = ROOT / "nbdebug"
    asking = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "importlib.metadata" in path.read_text(encoding="utf-8")
    ]

    # The one that looks for plug-ins of other distributions.
    assert asking == ["core/plugins.py"]


def test_the_core_install_is_without_the_packages_of_the_store() -> None:
    core = {Requirement(line).name for line in PROJECT["dependencies"]}
    runs = {Requirement(line).name.removesuffix("-skinny") for line in EXTRAS["runs"]}

    assert runs == set(DATABASE)
    assert not core & {Requirement(line).name for line in EXTRAS["runs"]}
    assert f"{DISTRIBUTION}[runs]" in EXTRAS["lab"]


def test_classifiers_hold_what_the_package_says_of_itself() -> None:
    assert {"Typing :: Typed", "Development Status :: 3 - Alpha"} <= set(PROJECT["classifiers"])
    assert (ROOT / "nbdebug" / "py.typed").exists()
    assert PROJECT["license"] == "BSD-3-Clause"


def test_the_lowest_versions_are_those_of_the_bounds() -> None:
    text = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", text, re.MULTILINE))
    bounds = requirements()

    # Of older ones no CPU build is to be had: see the comment in the file.
    assert pinned.pop("torch") != bounds.pop("torch")
    assert {name.lower() for name in pinned} == set(bounds)
    assert {n: v for n, v in pinned.items() if _padded(v) != _padded(bounds[n.lower()])} == {}


def _padded(version: str) -> list[str]:
    return [*version.split("."), "0", "0"][:3]


def test_version_is_said_in_four_places() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\](.*)$", changelog, re.MULTILINE)

    assert f"\nversion: {__version__}\n" in citation
    assert headings[0] == ("Unreleased", "")
    # Between two releases the version is that of the next one, under development.
    number, _, development = __version__.partition(".dev")
    launcher = ROOT / "nbdebug" / "command_line" / "launcher" / "package.json"
    assert json.loads(launcher.read_text(encoding="utf-8"))["version"] == number
    newest = headings[1][0]
    assert newest == number if not development else Version(newest) < Version(number)
    assert re.fullmatch(r" - \d{4}-\d\d-\d\d", headings[1][1])
