"""Frames pushed one time step at a time give the predictions that whole chunks give."""

import numpy as np
import pytest
import small_artifact as small

from worldmodel.errors import InputError
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.stream import CameraStream


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("stream") / "artifact"
    small.write_artifact(folder)
    return Predictor.open(folder, threads=1)


@pytest.fixture(scope="module")
def long_drive() -> np.ndarray:
    """uint8 [B, 4 F, H, W, 3]"""
    return np.concatenate([small.drive(seed) for seed in range(4)], axis=1)


@pytest.mark.parametrize("stride", [None, 1, 4, 2 * small.F])
def test_predictions_are_those_of_the_latest_frames(
    predictor: Predictor, long_drive: np.ndarray, stride: int | None
) -> None:
    stream = CameraStream(predictor, stride, steps=2)
    said = {k + 1: stream.push(long_drive[:, k]) for k in range(30)}
    answers = {seen: predicted for seen, predicted in said.items() if predicted is not None}
    assert list(answers) == list(range(small.F, 31, stride or small.F))
    for seen, predicted in answers.items():
        assert np.array_equal(predicted, predictor.predict(long_drive[:, seen - small.F : seen], 2)), seen


def test_a_restart_forgets(predictor: Predictor, long_drive: np.ndarray) -> None:
    stream = CameraStream(predictor)
    for k in range(small.F - 1):
        assert stream.push(long_drive[:, k]) is None
    stream.restart()
    answers = [stream.push(long_drive[:, k]) for k in range(5, 5 + small.F)]
    assert [one is None for one in answers] == [True] * (small.F - 1) + [False]
    assert np.array_equal(answers[-1], predictor.predict(long_drive[:, 5 : 5 + small.F]))


def test_frames_that_do_not_fit_are_not_taken(predictor: Predictor, long_drive: np.ndarray) -> None:
    stream = CameraStream(predictor)
    stream.push(long_drive[:, 0])
    for wrong in (long_drive[:1, 0], long_drive[:, 0, :8], long_drive[:, 0].astype(np.float32), long_drive[:, :2]):
        with pytest.raises(InputError, match=r"push uint8 \[2, 16, 24, 3\], one frame of every camera; cut and scale"):
            stream.push(wrong)
    assert stream.seen == 1


def test_options_that_cannot_be(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="stride=0: use at least 1"):
        CameraStream(predictor, stride=0)
    with pytest.raises(InputError, match="steps=7: this artifact holds schedules of 2, 5"):
        CameraStream(predictor, steps=7)


def test_what_was_pushed_may_be_overwritten(predictor: Predictor, long_drive: np.ndarray) -> None:
    """Cameras hand out the same buffer again and again."""
    stream, buffer = CameraStream(predictor, steps=2), np.empty_like(long_drive[:, 0])
    for k in range(small.F):
        np.copyto(buffer, long_drive[:, k])
        predicted = stream.push(buffer)
    assert predicted is not None
    assert np.array_equal(predicted, predictor.predict(long_drive[:, : small.F], 2))
