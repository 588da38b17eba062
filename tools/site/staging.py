"""Pages of the site, gathered in a folder that mirrors the repository, so that links still hold.

README.md becomes index.md; docs/ and notebooks/ are copied; reference/ is written from the code.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tools.site import api_pages
from tools.site.pictures import picture
from tools.site.plugin_pages import KINDS, ROOT, page

PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.S)
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)")
NAME = re.compile(r"(?<!\[)`([a-z_][a-z0-9_]*)`(?!\])")
# Kinds whose names are links on a page, the first one first; other pages have rules and checks.
NAMED_KINDS = {
    "controls.md": ("controls",),
    "clipping.md": ("controls", "rules", "checks"),
    "dropout_batchnorm.md": ("controls", "rules", "checks"),
    "probes.md": ("probes",),
    "checks.md": ("checks",),
    "checklist.md": ("checks", "rules", "controls"),
    "alarms.md": (),
}
TOP = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "benchmarks/README.md")


def markdown_pages() -> list[Path]:
    """README and the pages of docs/, whose blocks of Python a test runs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(path: Path) -> list[str]:
    """Blocks of Python in a page, without the magic of a cell."""
    text = path.read_text(encoding="utf-8")
    return [code.replace("%%nbd\n", "") for code in PYTHON_BLOCK.findall(text)]


def stage(folder: Path, notebooks: Path) -> None:
    """Gather all pages in an empty folder; `notebooks` holds those to show."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copytree(notebooks, folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (folder / "benchmarks").mkdir()
    for name in TOP:
        shutil.copy(ROOT / name, folder / name)
    _write_reference(folder / "reference")
    (folder / "index.md").write_text(_front_page(), encoding="utf-8")
    decisions = sorted((folder / "docs" / "decisions").glob("*.md"))
    (folder / "docs" / "decisions" / "index.md").write_text(_decisions(decisions), encoding="utf-8")
    for path in (*folder.glob("*.md"), *folder.glob("docs/**/*.md")):
        text = path.read_text(encoding="utf-8")
        path.write_text(_on_site(text, path, folder), encoding="utf-8")


def _write_reference(folder: Path) -> None:
    for kind in KINDS:
        (folder / kind.folder).mkdir(parents=True)
        for name, plugin in kind.plugins.items():
            path = folder / kind.folder / f"{name}.md"
            path.write_text(page(kind, plugin), encoding="utf-8")
            if shown := picture(plugin):
                path.with_suffix(".svg").write_text(shown.svg, encoding="utf-8")
    api_pages.write(folder / "api")


def _front_page() -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    trees = [_tree(title, pages) for title, pages in chapters().items()]
    about = ["docs/index", "CONTRIBUTING", "docs/decisions/index", "benchmarks/README", "CHANGELOG"]
    return "\n\n".join([readme, *trees, _tree("About", about)]) + "\n"


def chapters() -> dict[str, list[str]]:
    """Pages of the sidebar by chapter: the tables and lists of docs/index.md, in their order."""
    found: dict[str, list[str]] = {}
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for part in index.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        links = re.findall(r"^(?:\| |\d+\. )\[.*?\]\(([^)]+)\.(?:md|ipynb)\)", text, re.MULTILINE)
        if links:
            found[title] = [os.path.normpath(f"docs/{link}") for link in links]
    found["Reference"] = ["reference/api/index"]
    return found


def _tree(title: str, pages: list[str]) -> str:
    listed = "\n".join(pages)
    return f"```{{toctree}}\n:hidden:\n:caption: {title}\n:maxdepth: 1\n\n{listed}\n```"


def _decisions(paths: list[Path]) -> str:
    names = "\n".join(path.stem for path in paths)
    tree = f"```{{toctree}}\n:maxdepth: 1\n\n{names}\n```"
    return f"# Decisions\n\nReasons for the hard choices, each with what was measured.\n\n{tree}\n"


def _on_site(text: str, path: Path, folder: Path) -> str:
    """The text of a page with links that hold on the site, and names that lead to their pages."""
    kinds = NAMED_KINDS.get(path.name, ("rules", "checks"))
    if path.parent != folder / "docs":
        kinds = ()

    def outside_of_code(part: str) -> str:
        part = LINK.sub(lambda found: found[1] + _target(found[2], path, folder), part)
        return _linked(part, kinds, path.name)

    return _outside_of_code(text, outside_of_code)


def _outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """Change a text but for its blocks of code and its headings."""
    fenced, lines = False, []
    for line in text.split("\n"):
        fence = line.lstrip().startswith("```")
        fenced = fenced != fence
        lines.append(line if fenced or fence or line.startswith("#") else change(line))
    return "\n".join(lines)


def _target(link: str, path: Path, folder: Path) -> str:
    """A link of the repository as a link of the site; files that are no pages are taken along."""
    place = Path(os.path.normpath(path.parent / link))
    if place == folder / "README.md":
        return os.path.relpath(folder / "index.md", path.parent)
    if place.is_dir():
        return f"{link.rstrip('/')}/index.md"
    source = ROOT / place.relative_to(folder)
    if not place.exists() and source.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    return link


def _linked(line: str, kinds: tuple[str, ...], page_name: str) -> str:
    if page_name == "alarms.md" and (row := re.match(r"\| (check|rule) \|", line)):
        kinds = (f"{row[1]}s",)
    known = {kind.folder: kind.plugins for kind in KINDS if kind.folder in kinds}

    def linked(found: re.Match[str]) -> str:
        kind = next((kind for kind in kinds if found[1] in known[kind]), None)
        return f"[{found[0]}](../reference/{kind}/{found[1]}.md)" if kind else found[0]

    return NAME.sub(linked, line) if known else line
