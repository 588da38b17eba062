"""Links of a built site, checked without a network."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

REMOTE = ("http", "https", "mailto")


@dataclass
class Page:
    """Anchors of a page, its links, and files that it loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    """Fills a Page from its HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.page.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        elif tag == "link" and "href" in given:
            # The page of a search, and such: named, not loaded.
            kept = self.page.loaded if "stylesheet" in given.get("rel", "") else self.page.links
            kept.append(given["href"])
        elif "src" in given:
            self.page.loaded.append(given["src"])


@dataclass(frozen=True)
class LinkReport:
    """Count of pages and links of a site, and what is wrong.

    Attributes:
        dead: links to files or anchors that are not there, with the page.
        remote: files that a page would load from elsewhere, with the page.
    """

    pages: int
    internal: int
    external: int
    dead: tuple[str, ...]
    remote: tuple[str, ...]


def check_links(site: Path) -> LinkReport:
    """Look for every link, anchor, picture, script and style of a site in its own files."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    internal, external = 0, 0
    dead: list[str] = []
    remote: list[str] = []
    for path, page in pages.items():
        named = path.relative_to(site).as_posix()
        remote += [f"{named}: {one}" for one in page.loaded if urlsplit(one).scheme in REMOTE]
        for link in (*page.links, *page.loaded):
            if urlsplit(link).scheme:
                external += urlsplit(link).scheme in REMOTE
                continue
            internal += 1
            if not _leads(link, path, pages):
                dead.append(f"{named}: {link}")
    return LinkReport(len(pages), internal, external, tuple(dead), tuple(remote))


def _read(path: Path) -> Page:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def _leads(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    """Look for the file of a link and, in a page, for its anchor."""
    parts = urlsplit(link)
    target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if target not in pages:
        return target.is_file()
    return not parts.fragment or unquote(parts.fragment) in pages[target].anchors
