"""Contact sheets, videos and lossless frames: sizes, pixels, errors."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import peak_signal_noise_ratio

from worldmodel.errors import InputError
from worldmodel.viewing import contact_sheet, psnr_per_frame, write_frames, write_video
from worldmodel.viewing.images import encode_image, error_map


def pixels(frame_CHW: torch.Tensor) -> np.ndarray:
    return frame_CHW.permute(1, 2, 0).numpy()


def holds(picture: np.ndarray, frame_CHW: torch.Tensor, left: int, top: int) -> bool:
    frame = pixels(frame_CHW)
    return np.array_equal(picture[top : top + frame.shape[0], left : left + frame.shape[1]], frame)


def test_psnr_equals_torchmetrics(small_rollout):
    predicted, truth = small_rollout.predicted_NGCHW["ours"][:, :6], small_rollout.truth_NTCHW
    ours = psnr_per_frame(predicted, truth)
    for camera in range(2):
        for frame in range(6):
            pair = [video[camera, frame].double() / 255 for video in (predicted, truth)]
            assert ours[camera, frame] == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1.0).item(), abs=1e-5)
    assert np.isinf(psnr_per_frame(truth, truth)).all()


def test_error_map_goes_from_black_to_white():
    truth = torch.zeros(1, 3, 1, 4, dtype=torch.uint8)
    predicted = torch.tensor([0, 16, 40, 200], dtype=torch.uint8).expand(1, 3, 1, 4)
    black, dark_red, orange, white = error_map(predicted, truth)[0, :, 0].T.tolist()
    assert black == [0, 0, 0] and white == [255, 255, 255]
    assert dark_red == [128, 0, 0] and orange == [255, 64, 0]


def test_sheet_shows_the_frames_in_ring_order(small_rollout, tmp_path):
    path = contact_sheet(small_rollout, "repeat", tmp_path / "sheet.png", frames=[0, 7])
    sheet = np.asarray(Image.open(path))
    rows = [
        small_rollout.observed_NFCHW[:, -1],
        small_rollout.truth_NTCHW[:, 0],
        small_rollout.predicted_NGCHW["repeat"][:, 0],
        small_rollout.predicted_NGCHW["repeat"][:, 7],  # no truth so late
    ]
    left, top = sheet.shape[1] - 2 * (72 + 4), sheet.shape[0] - 4 * (48 + 4)
    for row, frames_NCHW in enumerate(rows):
        for column, camera in enumerate((1, 0)):  # FRONT_LEFT stands before FRONT
            assert holds(sheet, frames_NCHW[camera], left + column * 76, top + row * 52), (row, column)
    labels = sheet[top:, :left]
    for row in range(4):  # every row has words beside it that are not cut at the edge of the sheet
        words = np.argwhere(labels[52 * row : 52 * row + 48].max(axis=-1) > 150)
        assert len(words) > 20 and words[:, 1].min() > 0 and words[:, 1].max() < left - 1


def test_sheet_chooses_moments_itself(small_rollout, tmp_path):
    rollout = dataclasses.replace(small_rollout, chunk_frames=4)
    height = Image.open(contact_sheet(rollout, "ours", tmp_path / "sheet.png")).height
    assert height // 52 == 1 + 3 * 2 + 1  # observed; frames 0, 2, 3 with truth; frame 7 without


def decoded_video(path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == pytest.approx(12.0)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_video_has_every_frame_and_marks_what_was_observed(small_rollout, tmp_path):
    video = decoded_video(write_video(tmp_path / "film.mp4", small_rollout, "ours"))
    assert len(video) == 5 + 8
    panel = 26 + 48 + 2 * 4
    assert video[0].shape == (2 * panel, 2 * (72 + 4) + 4, 3)
    assert np.ptp(video[2][40, 1].astype(int)) < 30  # a grey edge round what was observed
    red, _, blue = video[7][40, 1].astype(int)
    assert blue > red + 60  # a blue one round what was predicted
    red, green, _ = video[7][panel + 40, 1].astype(int)
    assert green > red + 60  # a green one round the truth
    assert video[12][panel + 60, 40].max() < 40  # no truth so late: black


def test_video_shows_the_frames_where_they_belong(small_rollout, tmp_path):
    video = decoded_video(write_video(tmp_path / "film.mp4", small_rollout, "ours"))
    below_the_name = slice(26 + 4 + 22, 26 + 4 + 48)
    for index, expected_NCHW in (
        (1, small_rollout.observed_NFCHW[:, 1]),
        (9, small_rollout.predicted_NGCHW["ours"][:, 4]),
    ):
        for column, camera in enumerate((1, 0)):
            seen = video[index][below_the_name, 4 + 76 * column : 76 + 76 * column].astype(int)
            assert np.abs(seen - pixels(expected_NCHW[camera])[22:]).mean() < 16, (index, column)


def test_video_of_six_cameras_without_truth_is_three_by_two(make_rollout, tmp_path):
    rollout = make_rollout(observed=2, horizon=3, truth=0, height=32, width=47)
    video = decoded_video(write_video(tmp_path / "film.mp4", rollout, "flowframes"))
    assert len(video) == 5 and video[0].shape == (26 + 2 * 36 + 4, 3 * 51 + 4 + 1, 3)  # the odd side was made even


@pytest.mark.parametrize("format", ["png", "webp"])
def test_frames_are_lossless(small_rollout, tmp_path, format):
    frames = small_rollout.predicted_NGCHW["ours"][0]
    folder = write_frames(tmp_path / "CAM_FRONT", frames, format)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"{index:05d}.{format}" for index in range(8)]
    for file, frame_CHW in zip(files, frames, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels(frame_CHW))


def test_bad_input_is_named_and_leaves_nothing(small_rollout, tmp_path):
    cases = [
        (lambda: contact_sheet(small_rollout, "vista", tmp_path / "a.png"), "method vista: .* ours, repeat"),
        (lambda: contact_sheet(small_rollout, "ours", tmp_path / "a.jpg"), r"ending in \.png"),
        (lambda: contact_sheet(small_rollout, "ours", tmp_path / "a.png", frames=[8]), "frames: 8 .* 0 to 7"),
        (lambda: write_video(tmp_path / "a.mp4", small_rollout, "vista"), "method vista"),
        (lambda: write_video(tmp_path / "a.avi", small_rollout, "ours"), r"ending in \.mp4"),
        (lambda: write_frames(tmp_path / "a", small_rollout.observed_NFCHW[0], "jpeg"), "format jpeg: .* png or webp"),
        (lambda: encode_image(small_rollout.observed_NFCHW[0, 0], "gif"), "image_format gif"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
    assert list(tmp_path.iterdir()) == []


def test_frames_never_fall_among_others(small_rollout, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="full: exists already; give another folder or remove it"):
        write_frames(tmp_path / "full", small_rollout.observed_NFCHW[0])
    (tmp_path / "empty").mkdir()
    assert len(list(write_frames(tmp_path / "empty", small_rollout.observed_NFCHW[0]).iterdir())) == 5


def test_a_folder_that_cannot_be_made_is_named(small_rollout, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: .*; give a folder that can be written"):
        contact_sheet(small_rollout, "ours", tmp_path / "file" / "sheet.png")
