"""Where the tables of a dataset lie: in a version folder as nuScenes has it, or where other writers put them.

Known: `<root>/<version>/*.json` (nuScenes; TIER IV's T4, whose version is called `annotation`), a version folder in a
folder of the same name (Lyft Level 5, and archives unpacked into a folder of their own), and tables right in the root.
"""

from pathlib import Path

from worldmodel.errors import InputError

DEFAULT = "v1.0-mini"
PICTURES = ("samples", "sweeps", "images", "data")
"""Folders that picture files of known writers lie in."""


def find_versions(root: Path) -> dict[str, tuple[Path, str]]:
    """The versions under a root: name -> the folder that file names are relative to, and the tables' folder in it."""
    if not root.is_dir():
        return {}
    versions: dict[str, tuple[Path, str]] = {}
    for folder in sorted(root.iterdir()):
        for tables in (folder / folder.name, folder):
            if (tables / "sample_data.json").is_file():
                versions[folder.name] = _placed(root, tables)
                break
    if (root / "sample_data.json").is_file():
        versions[root.resolve().name] = _placed(root, root)
    return versions


def locate(root: str | Path, version: str | None) -> tuple[Path, str]:
    """The folder that file names are relative to, and the name of the tables' folder in it.

    Args:
        version: None is the only one that is there, or v1.0-mini where there are several.

    Raises:
        InputError: no such root or version, or several and none was chosen.
    """
    root = Path(root)
    versions = find_versions(root)
    chosen = version or (next(iter(versions)) if len(versions) == 1 else DEFAULT)
    if chosen in versions:
        return versions[chosen]
    if not root.is_dir():
        raise InputError(
            f"nuScenes root {root} is not a folder; give the folder that holds samples/, sweeps/ and v1.0-*/"
        )
    if version is None and versions:
        raise InputError(f"{root}: has versions {', '.join(versions)}; choose one with version=")
    if version is not None and (root / version).is_dir():
        return root, version  # a table is missing; who opens it says which
    here = ", ".join(versions) or "no version at all"
    raise InputError(f"nuScenes version {chosen!r} is not in {root}; found: {here}")


def _placed(root: Path, tables: Path) -> tuple[Path, str]:
    """The root that pictures are relative to: beside the tables' folder, or where a folder of pictures is."""
    if tables.parent == root:
        return root, tables.name
    beside = tables.parent if tables != root else tables.resolve().parent
    for place in (beside, root):
        if any((place / name).is_dir() for name in PICTURES):
            return place, str(tables.resolve().relative_to(place.resolve()))
    return (root, ".") if tables == root else (beside, tables.name)
