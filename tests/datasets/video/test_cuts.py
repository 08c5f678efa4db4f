"""Scene cuts: found where videos were joined, nowhere else."""

import json
import os
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_videos import cut_copy, moving_pictures
from footage import abrupt, published_cuts, without_cuts

from worldmodel.datasets.video.cuts import CutRule, Distances, cuts_of, distances, scene_cuts, shots
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError

SIZE = (96, 160)
DATA = Path(os.environ.get("WORLDMODEL_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
LISTED = json.loads((DATA / "manifest.json").read_text()) if (DATA / "manifest.json").is_file() else []
BAD = [entry["file"] for entry in LISTED if not str(entry["frames"]).isdigit()]


def shot(seed: int, frames: int, speed: int = 3) -> np.ndarray:
    """A blocky picture of its own few colours, with texture, that slides to the left; [frames, H, W, 3] uint8.

    The blocks are 10 wide: those of 8 would all meet the pixels that the histogram samples at the same moment.
    """
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (4, 3))
    wide = colours[random.integers(0, 4, (SIZE[0] // 10 + 1, 160))].repeat(10, 0).repeat(10, 1)[: SIZE[0]]
    wide = np.clip(wide + random.normal(0, 12, wide.shape), 0, 255)
    return np.stack([wide[:, speed * i : speed * i + SIZE[1]] for i in range(frames)]).astype(np.uint8)


def write(path: Path, frames: np.ndarray, pix_fmt: str = "yuv420p") -> VideoReader:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = *SIZE, pix_fmt
        stream.options = {"crf": "20", "preset": "ultrafast", "g": "12"}
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return VideoReader(path)


def joined(seed: int, lengths: list[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    video = np.concatenate([shot(100 * seed + i, length, speed=1 + i % 8) for i, length in enumerate(lengths)])
    return video, tuple(np.cumsum(lengths)[:-1].tolist())


def test_precision_and_recall_on_joined_films(tmp_path: Path) -> None:
    found, true, right = 0, 0, 0
    for seed in range(6):
        lengths = np.random.default_rng(seed).integers(12, 40, 8).tolist()
        video, cuts = joined(seed, lengths)
        said = scene_cuts(write(tmp_path / f"{seed}.mp4", video))
        found, true, right = found + len(said), true + len(cuts), right + len(set(said) & set(cuts))
    assert true == 42
    assert right / found > 0.95
    assert right / true > 0.95


def test_ten_bit_videos_too(tmp_path: Path) -> None:
    video, cuts = joined(7, [20, 20, 20])
    assert scene_cuts(write(tmp_path / "ten.mp4", video, "yuv420p10le")) == cuts


def test_a_flash_and_fast_motion_are_no_cuts(tmp_path: Path) -> None:
    video = shot(1, 60, speed=20)
    video[30] = 255
    assert scene_cuts(write(tmp_path / "flash.mp4", video)) == ()


def test_a_slow_fade_is_no_cut(tmp_path: Path) -> None:
    video = (shot(2, 60) * np.linspace(1, 0.3, 60)[:, None, None, None]).astype(np.uint8)
    assert scene_cuts(write(tmp_path / "fade.mp4", video)) == ()


def drive(seed: int, frames: int) -> np.ndarray:
    """The first frames of a longer drive: a picture's width passes in 200 frames."""
    return np.stack(list(islice(moving_pictures(240, *SIZE, seed), frames))).astype(float)


@pytest.mark.parametrize("frames", [6, 12, 16])
def test_a_dissolve_is_a_shot_of_its_own(tmp_path: Path, frames: int) -> None:
    before, after = drive(7, 40 + frames), drive(8, 40 + frames)
    share = (np.arange(1, frames + 1) / (frames + 1))[:, None, None, None]
    mixed = before[40:] * (1 - share) + after[:frames] * share
    source = write(tmp_path / "dissolve.mp4", np.concatenate([before[:40], mixed, after[frames:]]).astype(np.uint8))
    found = scene_cuts(source)
    assert len(found) == 2 and cuts_of(distances(source), CutRule()) == ()
    longest = sorted(shots(len(source.index()), found), key=len)[-2:]
    inside = {*range(40, 40 + frames)} & {frame for shot in longest for frame in shot}
    assert len(inside) <= 0.25 * frames and sum(map(len, longest)) >= 60


@pytest.mark.parametrize("level", [16, 235])
def test_fades_out_and_in_are_found(tmp_path: Path, level: int) -> None:
    share = np.concatenate([np.zeros(30), np.arange(1, 13) / 13, np.ones(4), np.arange(12, 0, -1) / 13, np.zeros(30)])
    video = np.concatenate([drive(9, 44), drive(10, 44)])
    video += share[:, None, None, None] * (level - video)
    found = scene_cuts(write(tmp_path / "fade.mp4", video.astype(np.uint8)))
    assert len(found) >= 2 and all(25 <= cut <= 63 for cut in found)
    assert max(map(len, shots(88, found))) <= 36


def test_the_rule_compares_with_the_frames_around() -> None:
    jumps = np.full(40, 0.2, np.float32)
    jumps[0], jumps[20] = 0, 0.5
    far = np.full(40, 0.5, np.float32)
    assert cuts_of(Distances(jumps, far), CutRule()) == ()
    jumps[1:] *= [0.5] * 19 + [1] + [0.5] * 19
    assert cuts_of(Distances(jumps, far), CutRule()) == (20,)


def test_pictures_held_for_three_frames_are_no_cuts(tmp_path: Path) -> None:
    video = shot(4, 20, speed=12).repeat(3, 0)
    assert scene_cuts(write(tmp_path / "held.mp4", video)) == ()


def test_two_more_cuts_nearby_hide_none(tmp_path: Path) -> None:
    video, cuts = joined(5, [20, 6, 6, 20])
    assert scene_cuts(write(tmp_path / "quick.mp4", video)) == cuts


def test_numbers_are_those_of_the_index_where_an_edit_list_hides_frames(tmp_path: Path) -> None:
    video, cuts = joined(6, [30, 30, 30])
    whole = write(tmp_path / "whole.mp4", video)
    source = VideoReader(cut_copy(whole.path, tmp_path / "copied.mp4", 17))
    assert len(source.index()) == len(distances(source).one_F) == 73
    assert scene_cuts(source) == (13, 43)
    assert scene_cuts(whole) == cuts == (30, 60)


@pytest.mark.parametrize("hit", [34, 41])
def test_lost_frames_keep_the_numbers(tmp_path: Path, hit: int) -> None:
    video, cuts = joined(6, [30, 30, 30])
    whole = write(tmp_path / "whole.mp4", video)
    source = VideoReader(spoiled(whole.path, tmp_path / "spoiled.mp4", range(hit, hit + 3)))
    assert len(source.index()) == len(distances(source).one_F) == 90
    assert (distances(source).one_F[hit : hit + 3] == 0).all()
    assert scene_cuts(source) == cuts


def test_a_video_without_one_sound_frame_is_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", shot(1, 20))
    with pytest.raises(InputError, match=r"spoiled\.mp4: no frame of it can be decoded"):
        scene_cuts(VideoReader(spoiled(whole.path, tmp_path / "spoiled.mp4", range(20))))


def spoiled(whole: Path, path: Path, packets: range) -> Path:
    """A copy in which the bytes of these packets are all ones."""
    content = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for number in packets:
        begin, size = places[number]
        content[begin : begin + size] = b"\xff" * size
    path.write_bytes(content)
    return path


def test_shots_lie_between_cuts() -> None:
    assert shots(10, ()) == [range(0, 10)]
    assert shots(10, (4, 7)) == [range(0, 4), range(4, 7), range(7, 10)]


def test_the_cache_answers_until_the_file_changes(tmp_path: Path) -> None:
    video, cuts = joined(3, [15, 15])
    path, cache = tmp_path / "video.mp4", tmp_path / "cache"
    source = write(path, video)
    assert scene_cuts(source, cache) == cuts
    kept = list(cache.iterdir())
    assert [file.suffix for file in kept] == [".json"]
    kept[0].write_text(json.dumps({"cuts": [3]}))
    assert scene_cuts(source, cache) == (3,)
    assert scene_cuts(source, cache, CutRule(distance=0.3)) == cuts
    assert scene_cuts(write(path, video[:20]), cache) == cuts


def test_a_cache_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "video.mp4", shot(1, 20))

    def full(path: Path, text: str) -> None:
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(Path, "write_text", full)
        scene_cuts(source, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert scene_cuts(source, tmp_path / "cache") == ()
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".json"]


@pytest.mark.skipif(not BAD, reason=f"no footage: {DATA}/manifest.json is absent (set WORLDMODEL_TEST_DATA)")
@pytest.mark.parametrize("file", BAD)
def test_bad_files_are_named(file: str, tmp_path: Path) -> None:
    try:
        scene_cuts(VideoReader(DATA / file), tmp_path)
    except InputError as error:
        assert Path(file).name in str(error)
        assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mp4"):
        scene_cuts(VideoReader(tmp_path / "nowhere.mp4"), tmp_path)


@pytest.mark.slow
def test_published_cuts_of_real_clips(footage_folder: Path, tmp_path: Path) -> None:
    """Every published number at which the picture changes abruptly is found; what else is found is abrupt too."""
    published = published_cuts(footage_folder)
    if not published:
        pytest.skip(f"{footage_folder}/README.md names no clip with cuts")
    for path, numbers in published.items():
        source = VideoReader(path)
        found = cuts_of(distances(source), CutRule())
        hard = [number for number in numbers if abrupt(source, number)]
        assert hard
        assert [number for number in hard if all(abs(number - cut) > 1 for cut in found)] == []
        assert all(abrupt(source, cut) for cut in found)


SEEN = {  # frames that a trained detector names: fades to white and black, from black, and a dissolve
    "cuts_sintel_like_30s": (73, 160, 457, 641),
    "nasa_13013": (139,),
}


@pytest.mark.slow
def test_fades_and_dissolves_of_real_clips(footage_folder: Path) -> None:
    """Each is in a short shot of its own."""
    videos = [path for path in published_cuts(footage_folder) if path.stem in SEEN]
    if not videos:
        pytest.skip(f"{footage_folder} has none of {', '.join(SEEN)}")
    for path in videos:
        source = VideoReader(path)
        parts = shots(len(source.index()), scene_cuts(source))
        for frame in SEEN[path.stem]:
            assert next(len(part) for part in parts if frame in part) < 36, (path.name, frame)


@pytest.mark.slow
def test_real_clips_without_cuts(footage_folder: Path, footage_manifest: list) -> None:
    """Clips that no note says to have cuts; the short first frames that a video begins with are its own."""
    videos = [path for path in without_cuts(footage_folder) if path.parent.name != "driving"][:4]
    if not videos:
        pytest.skip(f"no clip without cuts in {footage_folder}")
    assert {path.name: cuts for path in videos if (cuts := scene_cuts(VideoReader(path)))} == {}
