"""The process that measures: one artifact on one backend, alone, so that no other runtime's threads are beside it.

    python -m worldmodel.export.bench.worker '{"artifact": ..., "backend": "onnxruntime", ...}'

Inputs are always the same: the self-test's frames, the encoder's own latents of them, the schedule's first sigma. The
times include copies to and from a device, as a prediction has them. The last line on stdout is JSON.

Shape legend: B clips (cameras), F frames, H height, W width, 3 colours; C f h w latents.
"""

import gc
import json
import sys
import traceback
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from worldmodel.errors import UserError
from worldmodel.export.bench.measurement import TORCH, BenchRequest, Measured, Memory, RolloutTime
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import Backend, open_backend
from worldmodel.export.runtime.predictor import FEEDS, Predictor
from worldmodel.export.runtime.self_test import observed_frames
from worldmodel.measure.memory import HELD, PEAK, host_mb, restart_host_peak
from worldmodel.measure.timing import timed
from worldmodel.settings import from_document

PREDICTIONS = 3
"""Whole predictions a process, at most: each runs the step several times already."""

COMPUTING = ("torch", "onnxruntime", "tensorrt")


@dataclass
class Calls:
    """Runs parts, and keeps what each was last given so that it can be run again."""

    backend: Backend
    given: dict[str, tuple[Mapping[str, Any], Collection[str]]] = field(default_factory=dict)

    def run(self, part: str, inputs: Mapping[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
        self.given[part] = inputs, keep
        return self.backend.run(part, inputs, keep)

    def again(self, part: str) -> None:
        self.backend.run(part, *self.given[part])


def measure(request: BenchRequest) -> Measured:
    """Everything that is asked for, in this process.

    Raises:
        InputError: an artifact, checkpoint or backend that cannot be used here.
    """
    before, artifact = host_memory(HELD), Artifact.open(request.artifact)
    observed_BFHWC = observed_frames(0, artifact.manifest.video_shape)
    load_seconds, backend = timed(lambda: opened(request, artifact))
    with Predictor(artifact, backend) as predictor:
        calls = Calls(backend)
        first_seconds, _ = timed(lambda: run_once(calls, artifact, observed_BFHWC, request.steps))
        loading = host_memory(PEAK)
        gc.collect()
        restart_host_peak()
        parts = {part: times_of(calls, part, request) for part in request.parts}
        predictions = times_of_predictions(predictor, observed_BFHWC, request)
        rollouts = {feed: rolled_out(predictor, observed_BFHWC, feed, request) for feed in FEEDS if request.chunks}
        memory = Memory(before, loading, host_memory(PEAK), torch_gpu_mb())
    return Measured(load_seconds, first_seconds, parts, predictions, rollouts, memory, versions(), device_name(request))


def opened(request: BenchRequest, artifact: Artifact) -> Backend:
    """The backend that is asked for; torch is imported for its own alone."""
    if request.backend in TORCH:
        from worldmodel.export.bench.torch_backend import TorchBackend
        from worldmodel.export.reference_pipeline import OriginalConfig

        original = OriginalConfig(
            request.checkpoint, request.prompt_embeds, request.negative_prompt_embeds, request.transformer
        )
        return TorchBackend(artifact, original, request.backend == "compile", request.device, request.threads)
    options = {"device": request.device, "threads": request.threads} if request.backend == "onnxruntime" else {}
    return open_backend(request.backend, artifact, **options)


def run_once(calls: Calls, artifact: Artifact, observed_BFHWC: np.ndarray, steps: int) -> None:
    """Each part once, as a prediction runs them up to the first step."""
    sigma = np.array([artifact.manifest.schedule(steps).sigmas[0]], np.float32)
    latents_BCfhw = calls.run("encoder", {"video": observed_BFHWC})["latents"]
    calls.run("step", {"latents": latents_BCfhw, "sigma": sigma})
    if not artifact.manifest.streams:
        calls.run("decoder", {"latents": latents_BCfhw})
        return
    one_BC1hw, ports = latents_BCfhw[:, :, :1], artifact.manifest.parts
    left, again = ([port.name for port in ports[part].outputs[1:]] for part in artifact.decoder_parts)
    outputs = calls.run("decoder_first", {"latents": one_BC1hw}, left)
    remembered = (port.name for port in ports["decoder_next"].inputs[1:])
    memory = {name: outputs[output] for name, output in zip(remembered, left, strict=True)}
    calls.run("decoder_next", {"latents": one_BC1hw, **memory}, again)


def times_of(calls: Calls, part: str, request: BenchRequest) -> tuple[float, ...]:
    """Seconds of every counted run of one part alone."""
    for _ in range(request.warmup):
        calls.again(part)
    return tuple(timed(lambda: calls.again(part))[0] for _ in range(request.iterations))


def times_of_predictions(predictor: Predictor, observed_BFHWC: np.ndarray, request: BenchRequest) -> tuple[float, ...]:
    """Seconds of whole predictions, none where they are not wanted."""
    count = min(request.iterations, PREDICTIONS) if request.end_to_end else 0
    return tuple(timed(lambda: predictor.predict(observed_BFHWC, request.steps))[0] for _ in range(count))


def rolled_out(predictor: Predictor, observed_BFHWC: np.ndarray, feed: str, request: BenchRequest) -> RolloutTime:
    """One rollout."""
    predictor.restart_counts()
    seconds, _ = timed(lambda: predictor.rollout(observed_BFHWC, request.chunks, feed, request.steps))
    return RolloutTime(seconds, predictor.calls["encoder"])


def host_memory(name: str) -> float | None:
    """MB that the process holds or held; None where the system does not tell."""
    megabytes = host_mb(name)
    return None if megabytes is None else round(megabytes, 1)


def torch_gpu_mb() -> float | None:
    """The most that torch has allocated on the GPU; None where it has not used one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return round(torch.cuda.max_memory_allocated() / 1e6, 1)


def versions() -> dict[str, str]:
    """Of what computed here."""
    return {name: str(sys.modules[name].__version__) for name in COMPUTING if name in sys.modules}


def device_name(request: BenchRequest) -> str | None:
    """The GPU's name, where torch used it."""
    if request.backend in TORCH and request.device == "cuda":
        return str(sys.modules["torch"].cuda.get_device_name())
    return None


def main(arguments: list[str]) -> None:
    """The child; what it refuses, or fails at, is its answer."""
    try:
        request = from_document(BenchRequest, json.loads(arguments[0]), "order", "report this")
        answer: dict[str, Any] = asdict(measure(request))
    except UserError as refusal:
        answer = {"refused": " ".join(str(refusal).split())}
    except Exception as error:  # of torch's compiler, or of a runtime: this entry's, not the others'
        traceback.print_exc()
        first = next(iter(str(error).strip().splitlines()), "")[:200]
        answer = {"refused": f"{type(error).__name__}: {first}"}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
