"""The predictor against the same model in numpy; what it counts; what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_artifact as small

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import open_backend
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import compare, note, observed_frames, thumbnail
from worldmodel.files import file_sha256


@pytest.fixture(scope="module", params=[False, True], ids=["sequence", "streaming"])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("predictor") / "artifact"
    small.write_artifact(folder, streams=request.param)
    return Predictor.open(folder, threads=1)


def same_pixels(video: np.ndarray, levels: np.ndarray) -> bool:
    """Whether these are the levels, rounded: a rounding may turn out otherwise, and a streaming decoder's memory is
    float16."""
    off = np.abs(video - levels)
    return off.max() < 0.6 and (off <= 0.501).mean() > 0.95


@pytest.mark.parametrize("steps", [2, 5])
def test_a_prediction_is_the_formula(predictor: Predictor, steps: int) -> None:
    video = small.drive()
    predicted = predictor.predict(video, steps)
    assert predicted.dtype == np.uint8 and predicted.shape == video.shape and predicted.std() > 40
    assert same_pixels(predicted, small.decoded(small.flowed(small.encoded(video), steps)))


def test_latents_and_velocities_are_float32_exact(predictor: Predictor) -> None:
    source = small.encoded(small.drive())
    latents = predictor.encode(small.drive())
    assert latents.dtype == np.float32 and np.abs(latents - source).max() < 1e-5
    flowed = predictor.integrate(latents, predictor.artifact.manifest.schedule(5))
    expected = small.flowed(source, 5)
    assert np.linalg.norm(flowed - expected) < 1e-6 * np.linalg.norm(expected)


def test_a_rollout_through_latents_encodes_once(predictor: Predictor) -> None:
    predictor.restart_counts()
    predicted = predictor.rollout(small.drive(), 3, feed="latents", steps=2)
    latents, chunks = small.encoded(small.drive()), []
    for _ in range(3):
        latents = small.flowed(latents, 2)
        chunks.append(small.decoded(latents))
    assert same_pixels(predicted, np.concatenate(chunks, axis=1))
    decoder = {"decoder_first": 3, "decoder_next": 6} if predictor.artifact.manifest.streams else {"decoder": 3}
    assert predictor.calls == {"encoder": 1, "step": 6, **decoder}
    assert set(predictor.seconds) == set(predictor.calls) and min(predictor.seconds.values()) > 0


def test_a_rollout_through_frames_is_prediction_after_prediction(predictor: Predictor) -> None:
    predictor.restart_counts()
    predicted = predictor.rollout(small.drive(), 2, steps=2)
    assert predictor.calls["encoder"] == 2
    first = predictor.predict(small.drive(), 2)
    assert np.array_equal(predicted, np.concatenate([first, predictor.predict(first, 2)], axis=1))


def test_what_cannot_be_predicted_runs_nothing(predictor: Predictor) -> None:
    predictor.restart_counts()
    for words, said in (
        ({"chunks": 0}, "chunks=0: use at least 1"),
        ({"chunks": 1, "feed": "noise"}, "feed=noise: use frames or latents"),
        ({"chunks": 1, "steps": 3}, "steps=3: this artifact holds schedules of 2, 5; use one of them"),
    ):
        with pytest.raises(InputError, match=said):
            predictor.chunks(small.drive(), **words)
    assert not predictor.calls


def test_numbers_out_of_range_are_said(predictor: Predictor) -> None:
    source = predictor.encode(small.drive())
    source[0, 0, 0, 0, 0] = np.inf
    with pytest.raises(InputError, match="the fp32 step left the range of its numbers; export with another precision"):
        predictor.integrate(source, predictor.artifact.manifest.schedule(2))


def test_the_self_test_tells_a_wrong_machine(predictor: Predictor) -> None:
    manifest = predictor.artifact.manifest
    with pytest.raises(InputError, match="holds no self-test"):
        predictor.self_test()
    observed = observed_frames(7, manifest.video_shape)
    made = note(predictor.predict(observed, 2), seed=7, steps=2, tolerance=2.0)
    tested = Predictor(replace(predictor.artifact, manifest=replace(manifest, self_test=made)), predictor.backend)
    result = tested.self_test()
    assert result.exact and result.passed and result.difference == 0
    rounded = tested.predict(observed, 2) ^ 1
    assert not compare(rounded, made).exact and compare(rounded, made).passed
    wrong = compare(tested.predict(observed, 5), made)
    assert not wrong.exact and not wrong.passed and wrong.difference > 2


def test_self_test_frames_stay_what_they_are() -> None:
    """The numbers of the Mersenne Twister with seed 5489, the default of C++'s std::mt19937: 3499211612 first."""
    video = observed_frames(5489, (1, 2, 9, 17, 3))
    assert video.shape == (1, 2, 9, 17, 3)
    assert video[0, 0, 0, 0].tolist() == list((3499211612).to_bytes(4, "little")[:3])
    assert np.array_equal(video[:, 1, :, :-1], video[:, 0, :, 1:]), "it moves by a pixel a frame"
    assert (video[0, 0, 0, :8] == video[0, 0, 7, 7]).all() and (video[0, 0, 0, 8] != video[0, 0, 0, 7]).any()


def test_thumbnails_are_means_of_blocks() -> None:
    video = np.arange(1 * 1 * 8 * 8 * 3, dtype=np.uint8).reshape(1, 1, 8, 8, 3)
    assert np.allclose(thumbnail(video)[0, 0], video[0, 0].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3)))


def test_backends_say_what_is_missing(predictor: Predictor) -> None:
    artifact = predictor.artifact
    cases: list[tuple[str, dict, str]] = [
        ("openvino", {}, "backend=openvino: use onnxruntime or tensorrt"),
        ("onnxruntime", {"device": "npu"}, "device=npu: use cpu or cuda"),
        ("onnxruntime", {"threads": 0}, "threads=0: use at least 1"),
    ]
    for name, options, said in cases:
        with pytest.raises(InputError, match=said):
            open_backend(name, artifact, **options)


def test_a_graph_without_a_kernel_is_said_in_one_line(tmp_path: Path) -> None:
    """ONNX Runtime has no kernel for bfloat16 matrix products on a CPU."""
    manifest = small.write_artifact(tmp_path / "artifact")
    path = tmp_path / "artifact" / "step.onnx"
    text = small.STEP.replace("MatMul(last, MIX)", "Cast<to = 1>(product)").replace(
        "mixed =", "narrow = Cast<to = 16>(last)\n  weights = Cast<to = 16>(MIX)\n"
        "  product = MatMul(narrow, weights)\n  mixed ="
    )  # fmt: skip
    small.save(path, text, MIX=small.MIX)
    onnx.checker.check_model(path, full_check=True)
    replace(manifest, files={**manifest.files, "step.onnx": file_sha256(path)}).write(tmp_path / "artifact")
    with pytest.raises(InputError) as caught:
        Predictor(
            Artifact.open(tmp_path / "artifact"), open_backend("onnxruntime", Artifact.open(tmp_path / "artifact"))
        )
    said = str(caught.value)
    assert "step.onnx: ONNX Runtime" in said and "on cpu cannot load it" in said and "\n" not in said
