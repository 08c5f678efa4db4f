"""`chunk_pairs`: observed and future chunks of synchronised cameras, read lazily from a nuScenes-format dataset."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset

from worldmodel.datasets.images import RESAMPLES, adjust_intrinsics, picture_size, read_image
from worldmodel.datasets.nuscenes.chains import RING, CameraChains, camera_chains, frame_rate
from worldmodel.datasets.nuscenes.geometry import ego_poses, extrinsics, intrinsics
from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.datasets.nuscenes.report import NuScenesReport
from worldmodel.datasets.nuscenes.splits import scenes_of_split
from worldmodel.datasets.nuscenes.timing import MAX_GAP
from worldmodel.datasets.nuscenes.windows import WindowRule, cut_windows
from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.reading import reading
from worldmodel.errors import InputError


class NuScenesPairs(Dataset[PixelPair]):
    """A sequence of `PixelPair`s that reads its pictures when asked. Made by `chunk_pairs`.

    It pickles as the index's path and two small arrays, so it serves in `DataLoader` workers under fork and spawn;
    all of them map the same pages. With `skip_bad`, a pair with an unreadable picture is replaced by the next good
    one; which pairs were bad is kept in shared memory, so `.report` in the main process knows what the workers met.
    `.check()` reads every picture beforehand and returns a sequence without the bad pairs, so that nothing is
    replaced or seen twice.
    """

    def __init__(
        self,
        index: NuScenesIndex,
        cameras: tuple[str, ...],
        rows_S: np.ndarray,
        starts_PN: np.ndarray,
        lengths: tuple[int, int],
        frame_rate: float,
        size: tuple[int, int],
        resample: str,
        skip_bad: bool,
        report: NuScenesReport,
    ) -> None:
        self.index, self.cameras, self.frame_rate = index, cameras, frame_rate
        self.observed_frames, self.future_frames = lengths
        self.size, self.resample, self.skip_bad = size, resample, skip_bad
        self._rows_S, self._starts_PN, self._report = rows_S, starts_PN, report
        self._bad_P = torch.zeros(len(starts_PN), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self._starts_PN)

    def __getitem__(self, number: int) -> PixelPair:
        """Pair `number`; raises InputError naming the picture if one cannot be read, unless `skip_bad`."""
        number = range(len(self))[number]
        if not self.skip_bad:
            return self._read(number)
        for candidate in [*range(number, len(self)), *range(number)]:
            if not self._bad_P[candidate]:
                try:
                    return self._read(candidate)
                except InputError:
                    self._bad_P[candidate] = 1
        raise InputError(
            f"every one of the {len(self)} chunk pairs of {self.index.root} has a picture that cannot be read"
        )

    @property
    def report(self) -> NuScenesReport:
        """What was left out so far and why, pictures that workers could not read included."""
        bad = np.flatnonzero(self._bad_P.numpy())
        found = self._complaints(np.unique(self.frame_rows(bad)), workers=0)
        return self._with_bad(found, len(bad))

    def frame_rows(self, numbers: Sequence[int] | np.ndarray | slice = slice(None)) -> np.ndarray:
        """Rows of `sample_data` of the frames of some pairs, by default of all: [P, N, observed + future] int32."""
        return self._rows_S[self._starts_PN[numbers][..., None] + np.arange(self.observed_frames + self.future_frames)]

    def scene(self, number: int) -> str:
        """Scene name of pair `number`."""
        sample = self.index.column("sample_data", "sample_token")[self._rows_S[self._starts_PN[number, 0]]]
        return self.index.text("scene", "name", self.index.column("sample", "scene_token")[sample])

    def paths(self, number: int) -> tuple[tuple[str, ...], ...]:
        """Picture files of pair `number`: N rows of observed + future."""
        return tuple(tuple(str(self._path(row)) for row in rows) for rows in self.frame_rows([number])[0].tolist())

    def subset(self, numbers: Sequence[int]) -> "NuScenesPairs":
        """The same sequence with only the given pairs, in the given order."""
        report = replace(self._report, pairs=len(numbers))
        return self._with(self._starts_PN[list(numbers)], report)

    def check(self, workers: int = 0) -> "NuScenesPairs":
        """Read every picture once, in `workers` processes; return the pairs without a bad one, named in its report."""
        frames = self.frame_rows()
        found = self._complaints(np.unique(frames), workers)
        bad = np.isin(frames, list(found)).any(axis=(1, 2))
        return self._with(self._starts_PN[~bad], self._with_bad(found, int(bad.sum())))

    def _complaints(self, rows: np.ndarray, workers: int) -> dict[int, str]:
        with reading(_Pictures(self, rows), list, workers, "workers=0", batch_size=32) as read:
            messages = [message for batch in read for message in batch]
        return {row: message for row, message in zip(rows.tolist(), messages, strict=True) if message}

    def _with_bad(self, found: dict[int, str], bad_pairs: int) -> NuScenesReport:
        known = self._report.bad_images
        new = [message for message in found.values() if message not in known]
        total = self._report.bad_pairs + bad_pairs
        return replace(self._report, pairs=len(self) - bad_pairs, bad_images=known + new, bad_pairs=total)

    def _with(self, starts_PN: np.ndarray, report: NuScenesReport) -> "NuScenesPairs":
        lengths = (self.observed_frames, self.future_frames)
        rest = (lengths, self.frame_rate, self.size, self.resample, self.skip_bad, report)
        return NuScenesPairs(self.index, self.cameras, self._rows_S, starts_PN, *rest)

    def _path(self, row: int) -> str:
        return f"{self.index.root}/{self.index.text('sample_data', 'filename', row)}"

    def read_frame(self, row: int) -> np.ndarray:
        """One picture as [H, W, 3] uint8; an error names its record."""
        try:
            return read_image(self._path(row), self.size, self.resample)
        except InputError as why:
            raise InputError(f"{why} (sample_data {self.index.token('sample_data', row)})") from None

    def _read(self, number: int) -> PixelPair:
        rows_NL = self.frame_rows([number])[0]
        first = rows_NL[:, 0]
        frames = self._frames(rows_NL)
        poses = ego_poses(self.index, rows_NL.reshape(-1)).reshape(*rows_NL.shape, 4, 4)
        return PixelPair(
            scene=self.scene(number),
            cameras=self.cameras,
            observed_NFCHW=frames[:, : self.observed_frames],
            future_NGCHW=frames[:, self.observed_frames :],
            times_s=self.index.column("sample_data", "timestamp")[rows_NL] * 1e-6,
            intrinsics=self._intrinsics(first),
            extrinsics=extrinsics(self.index, first),
            ego_poses=poses,
            frame_rate=self.frame_rate,
            paths=self.paths(number),
        )

    def _frames(self, rows_NL: np.ndarray) -> torch.Tensor:
        frames = np.empty((*rows_NL.shape, 3, *self.size), dtype=np.uint8)
        for place in np.ndindex(*rows_NL.shape):
            frames[place] = self.read_frame(int(rows_NL[place])).transpose(2, 0, 1)
        return torch.from_numpy(frames)

    def _intrinsics(self, rows_N: np.ndarray) -> np.ndarray | None:
        raw = intrinsics(self.index, rows_N)
        if np.isnan(raw).any():  # a rig may be uncalibrated
            return None
        sizes = [self._picture_size(row) for row in rows_N.tolist()]
        return np.stack([adjust_intrinsics(k, w, h, self.size) for k, (w, h) in zip(raw, sizes, strict=True)])

    def _picture_size(self, row: int) -> tuple[int, int]:
        """Width and height as the tables say, or the picture's own where they say none."""
        width, height = (int(self.index.column("sample_data", name)[row]) for name in ("width", "height"))
        return (width, height) if width > 0 and height > 0 else picture_size(self._path(row))


class _Pictures(Dataset[str]):
    """What is wrong with each of some pictures; empty where nothing is."""

    def __init__(self, pairs: NuScenesPairs, rows: np.ndarray) -> None:
        self.pairs, self.rows = pairs, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> str:
        try:
            self.pairs.read_frame(int(self.rows[number]))
        except InputError as why:
            return str(why)
        return ""


def chunk_pairs(
    index: NuScenesIndex,
    *,
    scenes: Sequence[str] | str | None = None,
    split: str | None = None,
    cameras: Sequence[str] | str | None = None,
    observed_frames: int = 17,
    future_frames: int = 17,
    stride: int = 17,
    size: tuple[int, int] = (256, 384),
    resample: str = "area",
    max_gap: float = MAX_GAP,
    skip_bad: bool = False,
) -> NuScenesPairs:
    """Cut every scene's camera chains into consecutive observed and future chunks.

    Args:
        index: from `open_index`.
        scenes, split: scene names, or the name of a split; all scenes if neither is given.
        cameras: any of the rig's camera names; the first leads, the others are matched to it by nearest time. By
            default those of the six nuScenes cameras that are present, in ring order, or all cameras of another rig.
        observed_frames, future_frames: lengths of the two chunks; `stride`: frames between the starts of two pairs.
        size: (H, W) of the frames: centre crop to the aspect, antialiased resize. `resample`: see `read_image`.
        max_gap: a step between frames may differ from the nominal frame time by this part of it; a step that
            differs more is a gap. Frames of nuScenes are 50 or 100 ms apart: at 0.4 and below no window is left.
        skip_bad: replace a pair whose picture cannot be read by the next good one, and count it in `.report`.

    Returns:
        A lazy sequence with `.report`.

    Raises:
        InputError: unknown scene, split or camera, sizes that make no sense, or scenes that give no pair at all.
    """
    _refuse_nonsense(observed_frames, future_frames, stride, size, resample, max_gap)
    names, absent = _chosen_scenes(index, scenes, split)
    by_default, cameras = cameras is None, _chosen_cameras(index, cameras)
    chains = camera_chains(index, cameras)
    rate = frame_rate(index, cameras)
    rule = WindowRule(observed_frames + future_frames, stride, 1 / rate, max_gap)
    report = NuScenesReport(absent_scenes=absent, dropped_references=index.dropped)
    report.absent_cameras = [
        name for name in index.camera_names if by_default and name not in index.cameras_with_frames
    ]
    starts_PN = _cut_scenes(index, chains, names, cameras, rule, report)
    lengths = (observed_frames, future_frames)
    return NuScenesPairs(
        index, cameras, chains.rows_S, starts_PN, lengths, rate, (size[0], size[1]), resample, skip_bad, report
    )


def _cut_scenes(
    index: NuScenesIndex,
    chains: CameraChains,
    names: list[str],
    cameras: tuple[str, ...],
    rule: WindowRule,
    report: NuScenesReport,
) -> np.ndarray:
    channels, row_of = index.texts("sensor", "channel"), {name: row for row, name in enumerate(index.scene_names)}
    sensors = [channels.index(camera) for camera in cameras]
    parts = [cut_windows(chains, row_of[name], name, cameras, sensors, rule, report) for name in names]
    starts_PN = np.concatenate(parts)
    report.pairs = len(starts_PN)
    if len(starts_PN) == 0:
        more = f" (and {len(names) - 1} more scenes)" if len(names) > 1 else ""
        remedy = "ask for fewer frames or other cameras"
        raise InputError(f"no chunk pair in {index.root / index.version}: {report.short_scenes[0]}{more}; {remedy}")
    return starts_PN


def _chosen_scenes(
    index: NuScenesIndex, scenes: Sequence[str] | str | None, split: str | None
) -> tuple[list[str], list[str]]:
    here = index.scene_names
    if scenes is not None and split is not None:
        raise InputError("give scenes or split, not both")
    if split is not None:
        wanted = scenes_of_split(index.root, index.version, split)
        found = [name for name in wanted if name in set(here)]
        if not found:
            raise InputError(f"no scene of split {split!r} is in {index.root / index.version}; it has {_some(here)}")
        return found, [name for name in wanted if name not in set(here)]
    if isinstance(scenes, str):
        scenes = [scenes]
    unknown = [name for name in scenes or () if name not in here]
    if unknown:
        raise InputError(f"scene {unknown[0]!r} is not in {index.root / index.version}; it has {_some(here)}")
    if not (here if scenes is None else scenes):
        raise InputError(f"no scene to cut: {index.root / index.version}/scene.json or the list of scenes is empty")
    return list(here if scenes is None else scenes), []


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _chosen_cameras(index: NuScenesIndex, cameras: Sequence[str] | str | None) -> tuple[str, ...]:
    if cameras is None:
        return default_cameras(index)
    cameras = (cameras,) if isinstance(cameras, str) else tuple(cameras)
    if not cameras:
        raise InputError("cameras is empty; name at least one, or leave it out for all")
    repeated = [name for name in cameras if cameras.count(name) > 1]
    if repeated:
        raise InputError(f"cameras names {repeated[0]} twice; name each camera once")
    return cameras


def default_cameras(index: NuScenesIndex) -> tuple[str, ...]:
    """Those of the six nuScenes cameras that have frames, in ring order, or all cameras of another rig that have."""
    present = index.cameras_with_frames
    ring = tuple(name for name in RING if name in present)
    if not index.camera_names:
        raise InputError(
            f"{index.root / index.version}/sensor.json has no sensor of modality 'camera'; use another version"
        )
    return ring or tuple(present or index.camera_names)


def _refuse_nonsense(
    observed: int, future: int, stride: int, size: tuple[int, int], resample: str, max_gap: float
) -> None:
    for name, value in (("observed_frames", observed), ("future_frames", future), ("stride", stride)):
        if value < 1:
            raise InputError(f"{name}={value} must be at least 1")
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"size={size} must be (height, width) in pixels")
    if resample not in RESAMPLES:
        raise InputError(f"resample={resample!r} is unknown; use one of {', '.join(RESAMPLES)}")
    if not 0 < max_gap < 1:
        raise InputError(f"max_gap={max_gap} must be between 0 and 1 (part of the frame time)")
