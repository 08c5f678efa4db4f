"""What the site needs beside the pages: those that lie outside `docs`, and links that leave it.

On a code host a page may link to any file of the repository. The site holds `docs` alone, so a link out of it becomes
its text with the path behind it; links to the pages that are taken in stay links.
"""

import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

OUTSIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\n)+)\]\((?P<target>[^)\s]+)\)")


ROOMS = ("datasets", "benchmarks", "export")
_packages = tempfile.TemporaryDirectory()


@event_priority(100)  # before mkdocstrings reads its paths
def on_config(config: Any) -> Any:
    """Lets the API reference see the three rooms without an `__init__.py`: griffe passes such folders over."""
    package = Path(config.config_file_path).parent / "worldmodel"
    seen = Path(_packages.name) / "worldmodel"
    _linked(package, seen, leave_out=ROOMS)
    for room in ROOMS:
        _linked(package / room, seen / room)
        (seen / room / "__init__.py").touch()
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_packages.name]
    return config


def _linked(folder: Path, at: Path, leave_out: tuple[str, ...] = ()) -> None:
    at.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in leave_out and not (at / path.name).exists():
            (at / path.name).symlink_to(path.resolve())


def on_files(files: Files, config: Any) -> Files:
    """Adds the repository's own pages under the names that the navigation has for them."""
    root = Path(config.config_file_path).parent
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(root / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links out of the site into text, and links to taken-in pages into links of the site."""
    folder = "" if page.file.src_uri in OUTSIDE.values() else "docs"
    return LINK.sub(lambda found: _of_site(found, folder), markdown)


def _of_site(found: re.Match[str], folder: str) -> str:
    target, _, anchor = found["target"].partition("#")
    if not target or "://" in target:
        return found[0]
    place = _normal(PurePosixPath(folder) / target)
    inside = OUTSIDE.get(place) or (place.removeprefix("docs/") if place.startswith("docs/") else None)
    if inside is None:
        return found[0] if found["image"] else f"{found['text']} (`{place}`)"
    return f"{found['image']}[{found['text']}]({inside}{'#' + anchor if anchor else ''})"


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)
