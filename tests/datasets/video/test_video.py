"""Reading videos: exact against a plain sequential decode, and every bad file a named error.

Files come from whatever the footage collection's manifest lists (WORLDMODEL_TEST_DATA).
"""

import json
import os
import pickle
import random
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from drawn_videos import NASTY, encode_video, moving_pictures

from worldmodel.datasets.resize import Picture
from worldmodel.datasets.video.decode import decoded
from worldmodel.datasets.video.file import seek_runs
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.errors import InputError

DATA = Path(os.environ.get("WORLDMODEL_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
LISTED = json.loads((DATA / "manifest.json").read_text()) if (DATA / "manifest.json").is_file() else []
GOOD = [entry for entry in LISTED if str(entry["frames"]).isdigit()]
BAD = [entry for entry in LISTED if not str(entry["frames"]).isdigit()]
SIZE = (36, 54)
NO_FOOTAGE = f"no footage: {DATA}/manifest.json is absent (set WORLDMODEL_TEST_DATA)"


def plain_decode(path: Path, size: tuple[int, int] | None = SIZE) -> tuple[torch.Tensor, list[bool]]:
    """Every frame from the beginning, no seek, nothing skipped; and the decoder's own damage flags."""
    picture, frames, corrupt = Picture(size), [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            frames.append(torch.from_numpy(picture(frame, stream.sample_aspect_ratio)))
            corrupt.append(frame.is_corrupt)
    return torch.stack(frames), corrupt


@pytest.mark.skipif(not GOOD, reason=NO_FOOTAGE)
@pytest.mark.parametrize("entry", GOOD, ids=lambda entry: entry["file"])
def test_every_listed_video_is_frame_exact(entry: dict) -> None:
    source = VideoReader(DATA / entry["file"])
    expected, corrupt = plain_decode(source.path)
    assert len(source.index()) == len(expected) == int(entry["frames"])
    assert (np.diff(source.index().times_s) > 0).all()
    nominal = float(str(entry["fps"]).split("nominal ")[-1].rstrip(")"))
    if len(expected) > 1:
        assert source.index().frame_rate == pytest.approx(nominal, rel=0.01)
    chance = random.Random(entry["sha256"])
    spans = [[len(expected) - 1, 0, len(expected) // 2]]
    starts = (chance.randrange(len(expected)) for _ in range(1 + (int(entry["size"]) < 500_000)))
    spans += [list(range(start, min(start + 4, len(expected)))) for start in starts]
    for span in spans:
        try:
            assert torch.equal(source.read(span, SIZE), expected[span])
        except InputError as error:
            assert any(corrupt), f"{error}: but a plain decode finds no damage"
            assert entry["file"] in str(error)
            assert "damaged" in str(error)


@pytest.mark.skipif(not BAD, reason=NO_FOOTAGE)
@pytest.mark.parametrize("entry", BAD, ids=lambda entry: entry["file"])
def test_every_listed_wreck_is_a_named_error(entry: dict) -> None:
    with pytest.raises(InputError) as caught:
        VideoReader(DATA / entry["file"]).read([0], SIZE)
    assert entry["file"] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such video file"), (b"", "0 bytes"), (b"a shopping list\n" * 99, "not a readable")],
)
def test_wrecks_say_why(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        VideoReader(path).index()


def test_sound_without_pictures_says_why(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video stream, only audio"):
        VideoReader(tmp_path / "sound.mp4").index()


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_cut_off_file_is_right_frames_or_an_error(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    encode_video(whole, moving_pictures(40, 96, 144), {"g": "12"}, "libvpx-vp9" if suffix == "webm" else "libx264")
    expected, _ = plain_decode(whole)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    try:
        source = VideoReader(cut)
        frames = len(source.index())
    except InputError as error:
        assert str(cut) in str(error)
        return
    assert 0 < frames < len(expected)
    right_or_named(source, expected)


@pytest.mark.parametrize("seed", range(3))
def test_damage_that_the_decoder_reports_spoils_what_follows_it(tmp_path: Path, video: Path, seed: int) -> None:
    expected, _ = plain_decode(video)
    chance = random.Random(seed)
    while True:  # a decoder does not see all damage, nor packets that the container lost: one that it reports
        content = bytearray(video.read_bytes())
        begin = chance.randrange(len(content) // 3, len(content) // 2)
        content[begin : begin + 1500] = chance.randbytes(1500)
        (tmp_path / "rot.mkv").write_bytes(content)
        if reported(tmp_path / "rot.mkv", expected):
            break
    source = VideoReader(tmp_path / "rot.mkv")
    sound = right_or_named(source, expected)
    assert 12 <= len(sound) < len(source.index())  # whole groups before and after, not the one that was hit


@pytest.mark.parametrize(
    ("hit", "spoilt"),
    [(36, {*range(33, 48)}), (28, {*range(25, 36)}), (26, {*range(25, 36)} - {28})],  # 28 is decoded before 26
)
def test_a_packet_without_a_picture_is_missed_though_others_are_skipped(
    tmp_path: Path, video: Path, hit: int, spoilt: set[int]
) -> None:
    """A key frame, a P picture, a B picture that others refer to: where the decoder may skip, it says nothing."""
    expected, _ = plain_decode(video)
    with av.open(str(video)) as container:
        packet = next(bytes(packet) for packet in container.demux(video=0) if packet.pts == 40 * hit)
    content = video.read_bytes()
    assert content.count(packet) == 1
    no_picture, at = bytearray(packet), 0
    while at < len(packet):  # units: a length, then a byte with the type
        no_picture[at + 4] = 0  # not defined
        at += 4 + int.from_bytes(packet[at : at + 4])
    (tmp_path / "rot.mkv").write_bytes(content.replace(packet, no_picture))
    sound = right_or_named(VideoReader(tmp_path / "rot.mkv"), expected)
    assert sound == [number for number in range(60) if number not in spoilt]


@pytest.mark.parametrize("width", [120, 118, 124])
def test_an_unscaled_picture_keeps_its_last_columns(tmp_path: Path, width: int) -> None:
    """FFmpeg's shortcut for planar RGB leaves up to 8 columns after the last 16 whole ones black."""
    path = encode_video(tmp_path / "video.mp4", moving_pictures(3, 90, width), {"crf": "10"})
    frames = VideoReader(path).read(range(3)).permute(0, 2, 3, 1).numpy().astype(int)
    with av.open(str(path)) as container:
        plain = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert frames[:, :, -1].std() > 10
    assert np.abs(frames - plain).mean(axis=(0, 1, 3)).max() < 20


def reported(path: Path, expected: torch.Tensor) -> bool:
    """Whether damage changed frames, and each first one since a sound key frame is flagged by the decoder, or its
    packet refused."""
    picture, known, any_damage = Picture(SIZE), False, False
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in decoded(container.demux(stream), stream):
            if not isinstance(frame, av.VideoFrame):
                known = any_damage = True
                continue
            shown = torch.from_numpy(picture(frame, stream.sample_aspect_ratio))
            sound = not frame.is_corrupt and torch.equal(shown, expected[round(25 * frame.time)])
            known = (known and not (sound and frame.key_frame)) or frame.is_corrupt
            any_damage = any_damage or known
            if not sound and not known:
                return False
    return any_damage


def right_or_named(source: VideoReader, expected: torch.Tensor) -> list[int]:
    """Numbers of the frames that can be read; each is one of the undamaged video at its time, the others raise."""
    sound, seconds = [], source.index().times_s
    for number in range(len(seconds)):
        try:
            frame = source.read([number], SIZE)[0]
            assert torch.equal(frame, expected[round(25 * (seconds[number] - seconds[0]))]), number
            sound.append(number)
        except InputError as error:
            assert str(source.path) in str(error)
    return sound


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames, open groups of 12 with B pictures, in Matroska (no index needed to begin)."""
    path = tmp_path_factory.mktemp("video") / "video.mkv"
    same_twice = "mbtree=0"  # with it, x264 writes other videos from the same pictures
    options = {"g": "12", "bf": "3", "x264-params": f"open-gop=1:scenecut=0:{same_twice}"}
    return encode_video(path, moving_pictures(60, 96, 144), options)


def test_open_groups_are_exact_from_every_start(video: Path) -> None:
    source = VideoReader(video)
    expected, _ = plain_decode(video)
    assert source.index().keys.sum() == 5
    for start in range(0, 57):
        assert torch.equal(source.read(range(start, start + 3), SIZE), expected[start : start + 3]), start


@pytest.mark.parametrize("kind", NASTY)
def test_awkward_videos_are_exact_from_many_starts(tmp_path: Path, kind: str) -> None:
    source = VideoReader(NASTY[kind](tmp_path, list(moving_pictures(130, 96, 144))))
    expected, _ = plain_decode(source.path)
    assert len(source.index()) == len(expected) == {"varying": 78, "edit": 88}.get(kind.split()[0], 130)
    for start in range(0, len(expected) - 3, 2):
        assert torch.equal(source.read(range(start, start + 3), SIZE), expected[start : start + 3]), start


def test_order_and_repeats_are_the_callers(video: Path) -> None:
    source = pickle.loads(pickle.dumps(VideoReader(video)))
    expected, _ = plain_decode(video)
    assert torch.equal(source.read([40, 3, 3, 41], SIZE), expected[[40, 3, 3, 41]])


@pytest.mark.parametrize("wanted", [[60], [-1], []])
def test_frames_that_are_not_there(video: Path, wanted: list[int]) -> None:
    with pytest.raises(InputError, match="asked for"):
        VideoReader(video).read(wanted, SIZE)


def test_centre_crop_keeps_the_middle(tmp_path: Path) -> None:
    picture = np.zeros((90, 240, 3), np.uint8)
    picture[:, 75:165] = (200, 40, 90)  # the middle square
    encode_video(tmp_path / "wide.mp4", [picture] * 3, {"crf": "1"})
    square = VideoReader(tmp_path / "wide.mp4").read([1], (30, 30))[0].double()
    assert square.shape == (3, 30, 30)
    inner = square[:, :, 1:-1].mean((1, 2))
    assert torch.allclose(inner, torch.tensor([200.0, 40, 90], dtype=torch.double), atol=6)


def test_rotation_tag_turns_the_picture(tmp_path: Path) -> None:
    turned = [e for e in GOOD if "rotation" in e["note"]]
    if not turned:
        pytest.skip("no video with a rotation tag is listed in the footage collection")
    for entry in turned:
        path = DATA / entry["file"]
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
        if frame.rotation % 180:
            upright = VideoReader(path).read([0])[0]
            assert upright.shape[1:] == (frame.width, frame.height)
            stored = torch.from_numpy(frame.to_ndarray(format="rgb24").copy()).permute(2, 0, 1)
            clockwise = torch.rot90(stored, -1, (1, 2)) if frame.rotation == -90 else torch.rot90(stored, 1, (1, 2))
            assert (upright.double() - clockwise.double()).abs().mean() < 4


def test_pixels_become_square() -> None:
    for entry in (e for e in GOOD if "non-square" in e["note"]):
        width, height = (int(n) for n in entry["res"].split("x"))
        read = VideoReader(DATA / entry["file"]).read([0])[0]
        assert read.shape[1] == height
        assert read.shape[2] != width


def test_pixels_become_square_where_only_the_stream_says_so(tmp_path: Path) -> None:
    path = encode_video(tmp_path / "wide.mp4", moving_pictures(5, 96, 144), {"x264-params": "sar=2/1"})
    assert VideoReader(path).read([1]).shape[2:] == (96, 288)
    path.write_bytes(path.read_bytes().replace(b"pasp", b"free"))
    assert VideoReader(path).read([1]).shape[2:] == (96, 288)


def test_pictures_that_change_size_need_one(tmp_path: Path) -> None:
    whole = b""
    for height in (96, 64):
        whole += encode_video(tmp_path / f"{height}.h264", moving_pictures(4, height, 144), {}).read_bytes()
    (tmp_path / "both.h264").write_bytes(whole)
    source = VideoReader(tmp_path / "both.h264")
    assert source.read(range(8), SIZE).shape == (8, 3, *SIZE)
    assert source.read([5]).shape[2:] == (64, 144)
    with pytest.raises(InputError, match="change size at frame 4; read it with a size"):
        source.read(range(8))


def test_a_run_ends_where_a_key_frame_saves_decoding() -> None:
    keys = np.zeros(40, bool)
    keys[[0, 10, 20, 30]] = True
    assert seek_runs([35, 2, 9, 10, 12, 3], keys) == [[2, 3, 9, 10, 12], [35]]
