"""Observed frames in, the next frames out, from an artifact and a backend: numpy alone.

    predictor = Predictor.open("artifact")
    future = predictor.predict(observed)              # uint8 [B, F, H, W, 3] both

Shape legend: B clips (cameras), F frames, H height, W width, C colours (3); c f h w latents; N steps.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import Backend, Values, open_backend
from worldmodel.export.runtime.manifest_fields import Schedule
from worldmodel.export.runtime.self_test import SelfTestResult, compare, observed_frames

FEEDS = ("frames", "latents")


class Predictor:
    """An artifact at work. Not for several threads at once.

    Attributes:
        calls: how often each part ran since `restart_counts`.
        seconds: wall-clock seconds spent in each part, copies to and from the device included.
    """

    def __init__(self, artifact: Artifact, backend: Backend) -> None:
        self.artifact, self.backend = artifact, backend
        self.restart_counts()

    @classmethod
    def open(
        cls, folder: str | Path, backend: str = "onnxruntime", prompt_sha256: str | None = None, **options: Any
    ) -> "Predictor":
        """Open an artifact; all its files are checked and loaded before this returns.

        Args:
            backend: see `open_backend`, also for `options`.
            prompt_sha256: see `Artifact.open`.

        Raises:
            InputError: an artifact or a backend that cannot be used.
        """
        artifact = Artifact.open(folder, prompt_sha256)
        return cls(artifact, open_backend(backend, artifact, **options))

    def restart_counts(self) -> None:
        """Count calls and seconds from zero."""
        self.calls: Counter[str] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)

    def predict(self, video_BFHWC: np.ndarray, steps: int | None = None) -> np.ndarray:
        """The chunk right after `video_BFHWC`.

        Args:
            video_BFHWC: uint8 RGB [B, F, H, W, 3] at the manifest's frame rate.
            steps: evaluations of the network; None takes the artifact's default.

        Returns:
            uint8 [B, F, H, W, 3].

        Raises:
            InputError: frames of another shape or dtype, a number of steps that the artifact has no schedule for, or
                numbers that left the range of its precision.
        """
        return next(self.chunks(video_BFHWC, 1, steps=steps))

    def rollout(
        self, video_BFHWC: np.ndarray, chunks: int, feed: str = "frames", steps: int | None = None
    ) -> np.ndarray:
        """`chunks` chunks, each from the one before: uint8 [B, chunks * F, H, W, 3]; see `chunks`."""
        return np.concatenate(list(self.chunks(video_BFHWC, chunks, feed, steps)), axis=1)

    def chunks(
        self, video_BFHWC: np.ndarray, chunks: int, feed: str = "frames", steps: int | None = None
    ) -> Iterator[np.ndarray]:
        """The chunks of a rollout one by one, each uint8 [B, F, H, W, 3].

        Args:
            feed: what the next chunk starts from: "frames" encodes the predicted 8-bit frames again, "latents" goes on
                from the predicted latents, so that the encoder runs once for the whole rollout.

        Raises:
            InputError: as `predict`, at once; `chunks` below 1; an unknown feed.
        """
        if chunks < 1:
            raise InputError(f"chunks={chunks}: use at least 1")
        if feed not in FEEDS:
            raise InputError(f"feed={feed}: use {' or '.join(FEEDS)}")
        self.artifact.check_video(video_BFHWC)
        return self._chunks(video_BFHWC, chunks, feed, self.artifact.manifest.schedule(steps))

    def _chunks(self, video_BFHWC: np.ndarray, chunks: int, feed: str, schedule: Schedule) -> Iterator[np.ndarray]:
        latents_Bcfhw = self.encode(video_BFHWC)
        for chunk in range(chunks):
            if chunk and feed == "frames":
                latents_Bcfhw = self.encode(video_BFHWC)
            latents_Bcfhw = self.integrate(latents_Bcfhw, schedule)
            video_BFHWC = self.decode(latents_Bcfhw)
            yield video_BFHWC

    def encode(self, video_BFHWC: np.ndarray) -> np.ndarray:
        """Normalised latents, float32 [B, c, f, h, w]."""
        return self._run("encoder", {"video": video_BFHWC})["latents"]

    def velocity(self, latents_Bcfhw: np.ndarray, sigma: float) -> np.ndarray:
        """One guided evaluation of the network, float32 [B, c, f, h, w]."""
        inputs = {"latents": latents_Bcfhw, "sigma": np.array([sigma], np.float32)}
        return self._run("step", inputs)["velocity"]

    def integrate(self, source_Bcfhw: np.ndarray, schedule: Schedule) -> np.ndarray:
        """The latents that the source flows to, float32 [B, c, f, h, w]; `InputError` where they are not finite."""
        latents_Bcfhw, velocities = source_Bcfhw, []
        for step, sigma in enumerate(schedule.sigmas):
            velocities.append(self.velocity(latents_Bcfhw, sigma))
            with np.errstate(over="ignore", invalid="ignore"):  # said below, in a sentence
                latents_Bcfhw = combined(source_Bcfhw, velocities, schedule, step)
        if not np.isfinite(latents_Bcfhw).all():
            precision = self.artifact.manifest.precision.step
            raise InputError(f"the {precision} step left the range of its numbers; export with another precision")
        return latents_Bcfhw

    def decode(self, latents_Bcfhw: np.ndarray) -> np.ndarray:
        """Frames, uint8 [B, F, H, W, 3]."""
        if not self.artifact.manifest.streams:
            return self._run("decoder", {"latents": latents_Bcfhw})["video"]
        return np.concatenate(list(self._streamed(latents_Bcfhw)), axis=1)

    def self_test(self) -> SelfTestResult:
        """Predict what the artifact predicted where it was made, and compare.

        Raises:
            InputError: the artifact holds no self-test.
        """
        manifest = self.artifact.manifest
        if manifest.self_test is None:
            raise InputError(f"{self.artifact.folder}: holds no self-test; export the artifact again")
        observed_BFHWC = observed_frames(manifest.self_test.seed, manifest.video_shape)
        return compare(self.predict(observed_BFHWC, manifest.self_test.steps), manifest.self_test)

    def close(self) -> None:
        """Give back the device's memory."""
        self.backend.close()

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _streamed(self, latents_Bcfhw: np.ndarray) -> Iterator[np.ndarray]:
        """Frames of one latent frame after another; what the decoder remembers stays on the device."""
        parts = self.artifact.manifest.parts
        remembered = [port.name for port in parts["decoder_next"].inputs if port.name != "latents"]
        memory: Values = {}
        for place in range(latents_Bcfhw.shape[2]):
            part = "decoder_next" if place else "decoder_first"
            left = [port.name for port in parts[part].outputs if port.name != "video"]
            outputs = self._run(part, {"latents": latents_Bcfhw[:, :, place : place + 1], **memory}, keep=left)
            memory = {name: outputs[output] for name, output in zip(remembered, left, strict=True)}
            yield outputs["video"]

    def _run(self, part: str, inputs: Mapping[str, Any], keep: Collection[str] = ()) -> Values:
        begun = time.perf_counter()
        outputs = self.backend.run(part, inputs, keep)
        self.calls[part] += 1
        self.seconds[part] += time.perf_counter() - begun
        return outputs


def combined(source_Bcfhw: np.ndarray, velocities: list[np.ndarray], schedule: Schedule, step: int) -> np.ndarray:
    """Latents after `step`, from the source and all velocities so far: the formula in `manifest`; float32."""
    # Coefficients are rounded to float32 before the product, as in C++ (predictor.cpp).
    latents_Bcfhw = np.float32(schedule.source[step]) * source_Bcfhw
    for coefficient, velocity_Bcfhw in zip(schedule.velocity[step], velocities, strict=True):
        latents_Bcfhw += np.float32(coefficient) * velocity_Bcfhw
    return latents_Bcfhw
