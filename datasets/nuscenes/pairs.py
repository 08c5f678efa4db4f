"""`chunk_pairs`: observed and future chunks of synchronised cameras, read lazily from a nuScenes-format dataset.

Shape legend: P pairs, N cameras, L frames of a pair (observed and future), S all frames of all cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch.utils.data import Dataset

from worldmodel.datasets.nuscenes.chains import camera_chains, frame_rate
from worldmodel.datasets.nuscenes.cutting import cut_scenes
from worldmodel.datasets.nuscenes.frames import SampleFrames
from worldmodel.datasets.nuscenes.geometry import ego_poses, extrinsics
from worldmodel.datasets.nuscenes.index import NuScenesIndex
from worldmodel.datasets.nuscenes.report import NuScenesReport
from worldmodel.datasets.nuscenes.selection import chosen_cameras, chosen_scenes
from worldmodel.datasets.pairs import PixelPair
from worldmodel.datasets.reading import reading
from worldmodel.datasets.timing import MAX_GAP
from worldmodel.datasets.windows import WindowRule
from worldmodel.errors import InputError


@dataclass(frozen=True)
class PairRows:
    """Which rows of `sample_data` make which pair.

    Attributes:
        cameras: N names. rows_S: rows, each camera's of a scene one after another.
        starts_PN: place in `rows_S` of every pair's first frame, for each camera.
        observed_frames, future_frames: lengths of the two chunks. frame_rate: nominal frames per second.
    """

    cameras: tuple[str, ...]
    rows_S: Int32[np.ndarray, "S"]
    starts_PN: Int64[np.ndarray, "P N"]
    observed_frames: int
    future_frames: int
    frame_rate: float

    def __len__(self) -> int:
        return len(self.starts_PN)

    def of(self, numbers: Sequence[int] | np.ndarray | slice = slice(None)) -> Int32[np.ndarray, "P N L"]:
        """Rows of the frames of some pairs, by default of all."""
        return self.rows_S[self.starts_PN[numbers][..., None] + np.arange(self.observed_frames + self.future_frames)]

    def subset(self, numbers: Sequence[int] | np.ndarray) -> "PairRows":
        """Those of some pairs, in the given order."""
        return replace(self, starts_PN=self.starts_PN[numbers])


class NuScenesPairs(Dataset[PixelPair]):
    """A sequence of `PixelPair`s that reads its pictures when asked. Made by `chunk_pairs`.

    It pickles as the index's path and two small arrays, so it serves in `DataLoader` workers under fork and spawn;
    all of them map the same pages. With `skip_bad`, a pair with an unreadable picture is replaced by the next good
    one; which pairs were bad is kept in shared memory, so `.report` in the main process knows what the workers met.
    `.check()` reads every picture beforehand and returns a sequence without the bad pairs, so that nothing is
    replaced or seen twice.
    """

    def __init__(
        self, frames: SampleFrames, rows: PairRows, report: NuScenesReport | None = None, skip_bad: bool = False
    ) -> None:
        self.frames, self.rows, self.skip_bad = frames, rows, skip_bad
        self._report = NuScenesReport() if report is None else report
        self._bad_P: torch.Tensor = torch.zeros(len(rows), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.rows)

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
    def index(self) -> NuScenesIndex:
        """The tables."""
        return self.frames.index

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names, in the order of every pair."""
        return self.rows.cameras

    @property
    def frame_rate(self) -> float:
        """Nominal frames per second."""
        return self.rows.frame_rate

    @property
    def report(self) -> NuScenesReport:
        """What was left out so far and why, pictures that workers could not read included."""
        bad = np.flatnonzero(self._bad_P.numpy())
        return self._with_bad(self._complaints(np.unique(self.frame_rows(bad)), workers=0), len(bad))

    def frame_rows(self, numbers: Sequence[int] | np.ndarray | slice = slice(None)) -> Int32[np.ndarray, "P N L"]:
        """Rows of `sample_data` of the frames of some pairs, by default of all."""
        return self.rows.of(numbers)

    def scene(self, number: int) -> str:
        """Scene name of pair `number`."""
        return scene_of(self.index, int(self.frame_rows([number])[0, 0, 0]))

    def paths(self, number: int) -> tuple[tuple[str, ...], ...]:
        """Picture files of pair `number`: N rows of observed + future."""
        return tuple(tuple(self.frames.path(row) for row in rows) for rows in self.frame_rows([number])[0].tolist())

    def subset(self, numbers: Sequence[int]) -> "NuScenesPairs":
        """The same sequence with only the given pairs, in the given order."""
        return self._with(self.rows.subset(list(numbers)), replace(self._report, pairs=len(numbers)))

    def check(self, workers: int = 0) -> "NuScenesPairs":
        """Read every picture once, in `workers` processes; return the pairs without a bad one, named in its report."""
        rows_PNL = self.frame_rows()
        complaints = self._complaints(np.unique(rows_PNL), workers)
        bad: np.ndarray = np.asarray(np.isin(rows_PNL, list(complaints)).any(axis=(1, 2)))
        return self._with(self.rows.subset(~bad), self._with_bad(complaints, int(bad.sum())))

    def _complaints(self, rows: np.ndarray, workers: int) -> dict[int, str]:
        with reading(_Complaints(self.frames, rows), list, workers, "workers=0", batch_size=32) as read:
            messages = [message for batch in read for message in batch]
        return {row: message for row, message in zip(rows.tolist(), messages, strict=True) if message}

    def _with_bad(self, complaints: dict[int, str], bad_pairs: int) -> NuScenesReport:
        known = self._report.bad_images
        new = [message for message in complaints.values() if message not in known]
        total = self._report.bad_pairs + bad_pairs
        return replace(self._report, pairs=len(self) - bad_pairs, bad_images=known + new, bad_pairs=total)

    def _with(self, rows: PairRows, report: NuScenesReport) -> "NuScenesPairs":
        return NuScenesPairs(self.frames, rows, report, self.skip_bad)

    def _read(self, number: int) -> PixelPair:
        rows_NL = self.frame_rows([number])[0]
        return read_pair(self.frames, self.cameras, rows_NL, self.rows.observed_frames, self.frame_rate)


def read_pair(
    frames: SampleFrames, cameras: tuple[str, ...], rows_NL: np.ndarray, observed_frames: int, frame_rate: float
) -> PixelPair:
    """The pair whose frames are these rows of `sample_data`, of N cameras; those behind the observed are the future."""
    index, first_N = frames.index, rows_NL[:, 0]
    video_NLCHW = torch.from_numpy(frames.read(rows_NL))
    return PixelPair(
        scene=scene_of(index, int(first_N[0])),
        cameras=cameras,
        observed_NFCHW=video_NLCHW[:, :observed_frames],
        future_NGCHW=video_NLCHW[:, observed_frames:],
        times_s=index.column("sample_data", "timestamp")[rows_NL] * 1e-6,
        frame_rate=frame_rate,
        intrinsics=frames.intrinsics(first_N),
        extrinsics=extrinsics(index, first_N),
        ego_poses=ego_poses(index, rows_NL.reshape(-1)).reshape(*rows_NL.shape, 4, 4),
        paths=tuple(tuple(frames.path(row) for row in rows) for rows in rows_NL.tolist()),
    )


def scene_of(index: NuScenesIndex, row: int) -> str:
    """Name of the scene that a row of `sample_data` is of."""
    sample = index.column("sample_data", "sample_token")[row]
    return index.text("scene", "name", index.column("sample", "scene_token")[sample])


class _Complaints(Dataset[str]):
    """What is wrong with each of some pictures; empty where nothing is."""

    def __init__(self, frames: SampleFrames, rows: np.ndarray) -> None:
        self.frames, self.rows = frames, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> str:
        try:
            self.frames.read_one(int(self.rows[number]))
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
    """Cut every scene's camera tracks into consecutive observed and future chunks.

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
    for name, value in (("observed_frames", observed_frames), ("future_frames", future_frames), ("stride", stride)):
        if value < 1:
            raise InputError(f"{name}={value} must be at least 1")
    frames = SampleFrames(index, size, resample)
    if not 0 < max_gap < 1:
        raise InputError(f"max_gap={max_gap} must be between 0 and 1 (part of the frame time)")
    names, absent = chosen_scenes(index, scenes, split)
    chosen = chosen_cameras(index, cameras)
    rows_S = camera_chains(index, chosen).rows_S
    rate = frame_rate(index, chosen)
    report = NuScenesReport(absent_scenes=absent, dropped_references=index.dropped)
    if cameras is None:
        report.absent_cameras = [name for name in index.camera_names if name not in index.cameras_with_frames]
    rule = WindowRule(observed_frames + future_frames, stride, rate, max_gap)
    starts_PN = cut_scenes(index, names, chosen, rule, report)
    rows = PairRows(chosen, rows_S, starts_PN, observed_frames, future_frames, rate)
    return NuScenesPairs(frames, rows, report, skip_bad)
