"""`open_clips`: the listed frames and no others, as the data room's own readers give them."""

import pickle
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from nuscenes_small import CAMERAS, VERSION, write_dataset
from PIL import Image
from torch.utils.data import DataLoader

from worldmodel.benchmarks.clips import ClipList, ClipsConfig, clip_list, open_clips
from worldmodel.datasets.images import read_image
from worldmodel.datasets.nuscenes import RING, chunk_pairs, open_index
from worldmodel.datasets.openvid import VideoFiles
from worldmodel.datasets.resize import crop_box
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError

SIZE = (32, 48)


@pytest.fixture(scope="module")
def vista(small_val: Path) -> ClipList:
    return clip_list(ClipsConfig(list="vista-val", root=str(small_val), version=VERSION))


@pytest.mark.parametrize("resample", ["area", "vista"])
def test_pictures_are_those_of_the_list(vista: ClipList, small_val: Path, resample: str) -> None:
    pairs = open_clips(vista, small_val, SIZE, resample=resample)
    assert len(pairs) == len(vista) == 16
    for number in (0, 9, 15):
        pair, clip = pairs[number], vista.clips[number]
        frames = torch.cat([pair.observed_NFCHW, pair.future_NGCHW], dim=1)[0]
        for place in (0, 1, 13, 24):
            picture = read_image(small_val / clip.lead.frames[place], SIZE, resample)
            assert np.array_equal(frames[place].permute(1, 2, 0).numpy(), picture)
        assert pair.paths == (tuple(str(small_val / frame) for frame in clip.lead.frames),)
        assert np.allclose(pair.times_s[0], np.array(clip.lead.timestamps_us) * 1e-6, rtol=0, atol=1e-7)
        assert pair.scene == clip.scene and pair.cameras == ("CAM_FRONT",) and pair.frame_rate == 12.0


def test_observed_frames_can_be_chosen(vista: ClipList, small_val: Path) -> None:
    assert open_clips(vista, small_val, SIZE)[0].observed_NFCHW.shape == (1, 1, 3, *SIZE)
    pair = open_clips(vista, small_val, SIZE, observed_frames=9)[0]
    assert pair.observed_NFCHW.shape == (1, 9, 3, *SIZE) and pair.future_NGCHW.shape == (1, 16, 3, *SIZE)
    for observed in (0, 25):
        with pytest.raises(InputError, match="use 1 to 24"):
            open_clips(vista, small_val, SIZE, observed_frames=observed)
    with pytest.raises(InputError, match="resample"):
        open_clips(vista, small_val, SIZE, resample="nearest")


def test_cameras_may_differ_from_clip_to_clip(small_val: Path) -> None:
    chosen = clip_list(ClipsConfig(list="flowframes-val", root=str(small_val), version=VERSION))
    pairs = open_clips(chosen, small_val, SIZE)
    assert len(pairs) == 6 and {clip.cameras for clip in chosen.clips} == {(camera,) for camera in CAMERAS}
    for number in range(6):
        pair, clip = pairs[number], chosen.clips[number]
        assert pair.cameras == clip.cameras and pair.scene == clip.scene
        assert [Path(path).name for path in pair.paths[0]] == [Path(frame).name for frame in clip.lead.frames]
        assert pair.observed_NFCHW.shape[1] == pair.future_NGCHW.shape[1] == 17
    with pytest.raises(IndexError):
        pairs[6]


def test_frames_that_are_left_out_are_passed_over(small_val: Path) -> None:
    """Clips of sweeps jump over key frames; pictures, times and poses are those of the listed frames."""
    chosen = clip_list(ClipsConfig(list="flowframes-val", root=str(small_val), version=VERSION))
    pair, clip = open_clips(chosen, small_val, SIZE)[0], chosen.clips[0]
    assert np.allclose(pair.times_s[0], np.array(clip.lead.timestamps_us) * 1e-6, rtol=0, atol=1e-7)
    frames = torch.cat([pair.observed_NFCHW, pair.future_NGCHW], dim=1)[0]
    for place in (0, 4, 5, 17, 33):
        assert np.array_equal(
            frames[place].permute(1, 2, 0).numpy(), read_image(small_val / clip.lead.frames[place], SIZE)
        )


def test_six_cameras_with_calibration(toy_root: Path) -> None:
    chosen = clip_list(ClipsConfig(root=str(toy_root)))
    pair = open_clips(chosen, toy_root, SIZE)[1]
    assert pair.observed_NFCHW.shape == (6, 17, 3, *SIZE) and pair.cameras == RING
    index = open_index(toy_root, "v1.0-toy")
    for camera, paths in zip(RING, pair.paths, strict=True):
        alone = chunk_pairs(index, split="val", cameras=camera, stride=1, size=SIZE)
        same = alone[next(number for number in range(len(alone)) if alone.paths(number) == (paths,))]
        place = RING.index(camera)
        assert torch.equal(same.observed_NFCHW[0], pair.observed_NFCHW[place])
        assert torch.equal(same.future_NGCHW[0], pair.future_NGCHW[place])
        for name in ("intrinsics", "extrinsics", "ego_poses", "times_s"):
            assert np.array_equal(getattr(same, name)[0], getattr(pair, name)[place])


def test_pickles_into_workers(vista: ClipList, small_val: Path) -> None:
    pairs = open_clips(vista, small_val, SIZE)
    again = pickle.loads(pickle.dumps(pairs))
    assert torch.equal(again[3].future_NGCHW, pairs[3].future_NGCHW)
    loader = DataLoader(pairs, batch_size=8, num_workers=1, collate_fn=list, multiprocessing_context="fork")
    batches = list(loader)
    assert [len(batch) for batch in batches] == [8, 8]
    assert torch.equal(batches[1][7].future_NGCHW, pairs[15].future_NGCHW)


def test_other_tables_are_refused(vista: ClipList, tmp_path: Path) -> None:
    fewer = write_dataset(tmp_path / "fewer", scenes=("scene-0003",), frames=70)
    with pytest.raises(InputError, match="8 of 16 clips begin with a sample_data that is not there"):
        open_clips(vista, fewer, SIZE)
    moved = write_dataset(tmp_path / "moved", scenes=("scene-0003", "scene-0012"), frames=70, jitter_us=2000)
    with pytest.raises(InputError, match="has other frames than vista-val@2 says"):
        open_clips(vista, moved, SIZE)


def write_video(path: Path, frames: int) -> Path:
    grey = np.random.default_rng(frames).integers(0, 200, (48, 80, 1)) + np.zeros((48, 80, 3), dtype=np.int64)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 80, "yuv420p"
        for number in range(frames):
            picture = (grey + number).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClipList]:
    folder = tmp_path_factory.mktemp("openvid")
    (folder / "part").mkdir()
    write_video(folder / "part" / "long.mp4", 50)
    write_video(folder / "short.mp4", 34)
    (folder / "list.csv").write_text("video,caption,frame\nshort.mp4,s,34\nlong.mp4,l,50\n")
    return folder, clip_list(ClipsConfig(list="openvid-val", csv=str(folder / "list.csv")))


@pytest.mark.parametrize("resample", ["area", "vista"])
def test_videos(videos: tuple[Path, ClipList], resample: str) -> None:
    folder, chosen = videos
    pairs = pickle.loads(pickle.dumps(open_clips(chosen, folder, SIZE, resample=resample)))
    assert [pairs[number].scene for number in range(len(pairs))] == ["long", "short"]
    pair, source = pairs[0], VideoReader(folder / "part" / "long.mp4")
    frames = torch.cat([pair.observed_NFCHW, pair.future_NGCHW], dim=1)[0]
    if resample == "area":
        assert torch.equal(frames, source.read(range(34), SIZE))
    else:
        whole = Image.fromarray(source.read([20])[0].permute(1, 2, 0).numpy())
        small = whole.crop(crop_box(80, 48, *SIZE)).resize((48, 32), Image.Resampling.LANCZOS)
        assert np.array_equal(frames[20].permute(1, 2, 0).numpy(), np.asarray(small))
    assert pair.frame_rate == pytest.approx(24) and pair.times_s.shape == (1, 34) and pair.intrinsics is None


def test_videos_that_are_not_there(videos: tuple[Path, ClipList], tmp_path: Path) -> None:
    folder, chosen = videos
    assert len(open_clips(chosen, VideoFiles([folder]), SIZE)) == 2
    with pytest.raises(InputError, match=r"1 of 2 files are not below .*, such as short.mp4; fetch"):
        open_clips(chosen, folder / "part", SIZE)


def test_hash_of_videos(videos: tuple[Path, ClipList], tmp_path: Path) -> None:
    folder, _ = videos
    hashed = clip_list(
        ClipsConfig(list="openvid-val", csv=str(folder / "list.csv"), root=str(folder), hash_frames=True)
    )
    assert set(hashed.frame_hashes) == {"long.mp4", "short.mp4"}


def test_a_video_shorter_than_its_row_says(videos: tuple[Path, ClipList], tmp_path: Path) -> None:
    folder, _ = videos
    (tmp_path / "wrong.csv").write_text("video,frame\nshort.mp4,60\n")
    chosen = clip_list(ClipsConfig(list="openvid-val", csv=str(tmp_path / "wrong.csv"), frames=35))
    with pytest.raises(InputError, match=r"short.mp4: frame 34 asked for, the video has 0 to 33"):
        open_clips(chosen, folder, SIZE)[0]
