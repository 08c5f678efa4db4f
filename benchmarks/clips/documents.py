"""Clip lists as files: a JSON list that Vista's own loader reads, and a header beside it.

Vista opens its annotation with `json.load` and indexes a plain list of objects: `frames` (paths below the data root),
and for its action modes `traj`, `cmd`, `speed`, `angle`, `goal`, `z` (baselines.md, section 7). So the list is the
whole document and what is said about it stands in `NAME.header.json`. `speed` and `angle` come from the CAN bus, which
the tables lack: they are empty, which Vista takes as "this scene has none".
"""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from worldmodel.benchmarks.clips.clip_list import Actions, Clip, ClipList, View
from worldmodel.errors import InputError
from worldmodel.files import written_whole


class ViewEntry(msgspec.Struct):
    frames: tuple[str, ...]
    start_sd_token: str = ""
    timestamps: tuple[int, ...] = ()


class ClipEntry(ViewEntry, kw_only=True):
    """One clip: the leading camera's frames as Vista has them; `views` are those of the others."""

    scene: str
    camera: str
    cameras: tuple[str, ...] | UnsetType = UNSET
    views: dict[str, ViewEntry] | UnsetType = UNSET
    caption: str | UnsetType = UNSET
    traj: tuple[float, ...] | UnsetType = UNSET
    cmd: int | UnsetType = UNSET
    speed: tuple[float, ...] | UnsetType = UNSET
    angle: tuple[float, ...] | UnsetType = UNSET
    goal: tuple[float, float] | UnsetType = UNSET
    z: float | UnsetType = UNSET


class Header(msgspec.Struct):
    """All of a `ClipList` but the clips, with its hashes."""

    name: str
    version: int
    rule: str
    expected: int
    count: int
    frames: int
    observed_frames: int
    frame_rate: float | None
    tables: str
    source: dict[str, Any]
    notes: tuple[str, ...]
    sha256: str
    frames_sha256: str
    frame_hashes: dict[str, str]


_OWN = (
    *("name", "version", "rule", "expected", "frames", "observed_frames", "frame_rate", "tables"),
    *("source", "notes", "frame_hashes"),
)


def header_path(path: str | Path) -> Path:
    """The header's file beside a list's."""
    return Path(path).with_suffix(".header.json")


def write_clip_list(chosen: ClipList, path: str | Path) -> None:
    """Write list and header, each under a temporary name first. The header comes last: alone, a new list is refused."""
    lines = b",\n".join(msgspec.json.encode(_entry(clip)) for clip in chosen.clips)
    with written_whole(path, ".json") as part:
        part.write_bytes(b"[\n" + lines + b"\n]\n")
    own: dict[str, Any] = {name: getattr(chosen, name) for name in _OWN}
    header = Header(**own, count=len(chosen), sha256=chosen.sha256, frames_sha256=chosen.frames_sha256)
    with written_whole(header_path(path)) as part:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(header), indent=1) + b"\n")


def read_clip_list(path: str | Path) -> ClipList:
    """Read a list and its header back.

    Raises:
        InputError: one of the two is missing or broken, a clip is there twice or not whole, or the clips are not those
            that the header was written for.
    """
    header: Header = _read(header_path(path), Header)
    entries: list[ClipEntry] = _read(Path(path), list[ClipEntry])
    own = {name: getattr(header, name) for name in _OWN}
    chosen = ClipList(**own, clips=tuple(_clip(entry) for entry in entries))
    if (len(chosen), chosen.sha256, chosen.frames_sha256) != (header.count, header.sha256, header.frames_sha256):
        raise InputError(
            f"{path}: {len(chosen)} clips with sha256 {chosen.sha256[:12]}, {header_path(path).name} says"
            f" {header.count} with {header.sha256[:12]}: altered, or half of another list; build it anew"
        )
    return chosen


def _read(path: Path, kind: Any) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file; a clip list is NAME.json with NAME.header.json, build it anew")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: not a clip list ({error}); build it anew") from None


def _entry(clip: Clip) -> ClipEntry:
    lead = clip.lead
    entry = ClipEntry(
        frames=lead.frames,
        start_sd_token=lead.start_token,
        timestamps=lead.timestamps_us,
        scene=clip.scene,
        camera=lead.camera,
    )
    if len(clip.views) > 1:
        entry.cameras = clip.cameras
        entry.views = {view.camera: _view_entry(view) for view in clip.views if view is not lead}
    if clip.caption:
        entry.caption = clip.caption
    if clip.actions is not None:
        entry.traj, entry.cmd = clip.actions.traj, clip.actions.cmd
        entry.goal, entry.z = clip.actions.goal, clip.actions.z
        entry.speed = entry.angle = ()
    return entry


def _view_entry(view: View) -> ViewEntry:
    return ViewEntry(view.frames, view.start_token, view.timestamps_us)


def _clip(entry: ClipEntry) -> Clip:
    listed: dict[str, ViewEntry] = {entry.camera: entry} | (entry.views or {})
    views = tuple(
        View(camera, listed[camera].frames, listed[camera].start_sd_token, listed[camera].timestamps)
        for camera in _order(entry, set(listed))
    )
    return Clip(entry.scene, views, _actions(entry), entry.caption or "")


def _order(entry: ClipEntry, listed: set[str]) -> tuple[str, ...]:
    cameras = (entry.camera,) if entry.cameras is UNSET else entry.cameras
    if len(cameras) != len(listed) or set(cameras) != listed:
        raise InputError(f"clip of {entry.scene}: cameras {cameras} are not its views {sorted(listed)}; build it anew")
    return cameras


def _actions(entry: ClipEntry) -> Actions | None:
    given = (entry.traj, entry.cmd, entry.goal, entry.z)
    if UNSET in given:
        return None
    return Actions(*given)  # type: ignore[arg-type]
