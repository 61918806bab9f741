"""Look for dead links in the built book, and for anything that would be loaded from elsewhere."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "source": "src", "video": "src", "iframe": "src", "embed": "src"}
LOADING_RELATIONS = {"stylesheet", "icon", "shortcut", "preload", "prefetch", "modulepreload"}


class Page(HTMLParser):
    """The targets of one page: its ids, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if given.get(name))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in LOADED and given.get(LOADED[tag]):
            self.loads.append(given[LOADED[tag]])
        if tag == "link" and LOADING_RELATIONS & set(given.get("rel", "").lower().split()):
            self.loads.append(given.get("href", ""))


def is_elsewhere(address: str) -> bool:
    return bool(urlsplit(address).netloc)


def dead(address: str, path: Path, pages: dict[Path, Page]) -> bool:
    """True if a relative address names no file, or no place in its page."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return True
    return bool(parts.fragment) and target in pages and unquote(parts.fragment) not in pages[target].ids


def faults(html: Path, *, offline: bool) -> list[str]:
    """One line for each dead link; with `offline`, also for each script, style or image from another host."""
    html = html.resolve()
    pages = {
        path: Page(path.read_text("utf-8"))
        for path in sorted(html.rglob("*.html"))
        if "_static" not in path.parts
    }
    found = []
    for path, page in pages.items():
        name = path.relative_to(html)
        links = [
            link for link in page.links + page.loads if not link.startswith(("#!", "data:", "javascript:"))
        ]
        found += [f"{name}: dead link {link}" for link in links if link != "#" and dead(link, path, pages)]
        if offline:
            found += [f"{name}: loads {load}" for load in page.loads if is_elsewhere(load)]
    if offline:
        for style in sorted(html.rglob("*.css")):
            for address in re.findall(
                r"(?:@import\s+|url\()['\"]?((?:https?:)?//[^'\")\s]+)", style.read_text("utf-8")
            ):
                found.append(f"{style.relative_to(html)}: loads {address}")
    return found


if __name__ == "__main__":
    lines = faults(Path(sys.argv[1]), offline="--offline" in sys.argv)
    print("\n".join(lines) or "no dead link")
    sys.exit(bool(lines))
