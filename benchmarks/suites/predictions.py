"""Predicted frames on disk: one file per clip, so that a killed benchmark goes on where it stopped.

Shape legend: N cameras, F observed frames, G predicted frames, H height, W width, 3 colours.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors import safe_open
from torch import Tensor

from worldmodel.benchmarks.methods.method import Method, SeededNoise
from worldmodel.datasets.pairs import PixelPair
from worldmodel.files import is_kept, remove_partial, save_tensors, written_whole
from worldmodel.flow.solvers import Evaluations
from worldmodel.measure.timing import now
from worldmodel.pixels import signed_from_uint8, to_uint8, unit_from_signed


@dataclass(frozen=True)
class Cost:
    """Of one clip, all its cameras: wall seconds, and what one prediction took."""

    seconds: float
    guided_evals: int
    forward_calls: int
    forward_batch: int


class Predictions:
    """The predictions of one row in `folder`, by the clip's number in the list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """Of one clip."""
        return self.folder / f"{number:06d}.safetensors"

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those not there yet."""
        return [number for number in numbers if not is_kept(self.path(number))]

    def write(self, number: int, frames: UInt8[Tensor, "N G 3 H W"], cost: Cost) -> None:
        """The file appears whole or not at all."""
        path = self.path(number)
        remove_partial(self.folder, path.name)
        with written_whole(path) as part:
            save_tensors({"frames": frames.contiguous()}, part, {"cost": json.dumps(asdict(cost))})

    def read(self, number: int) -> tuple[UInt8[Tensor, "N G 3 H W"], Cost]:
        """What `write` was given."""
        with safe_open(self.path(number), framework="pt") as opened:
            return opened.get_tensor("frames"), Cost(**json.loads(opened.metadata()["cost"]))


def predict_clip(
    method: Method, pair: PixelPair, seeds: Sequence[int], chunks: int
) -> tuple[UInt8[Tensor, "N G 3 H W"], Cost]:
    """`chunks` chunks of every camera of one clip; `seeds` has one for each camera."""
    method.clip_rate = pair.frame_rate or None
    step, parts = method.spec.batch or len(seeds), []
    begun = now(method.device)
    for first in range(0, len(seeds), step):
        cameras = slice(first, first + step)
        parts.append(_predict(method, pair, cameras, SeededNoise(seeds[cameras]), chunks))
    evaluations: Evaluations = method.evaluations
    seconds = now(method.device) - begun
    cost = Cost(seconds, evaluations.guided_evals, evaluations.forward_calls, evaluations.forward_batch)
    return torch.cat(parts), cost


def _predict(
    method: Method, pair: PixelPair, cameras: slice, noise: SeededNoise, chunks: int
) -> UInt8[Tensor, "N G 3 H W"]:
    spec, device = method.spec, method.device
    if spec.sees_truth:
        truth_NGCHW = pair.future_NGCHW[cameras, : chunks * spec.future_frames].to(device)
        parts = [method.run(signed_from_uint8(part), noise) for part in truth_NGCHW.split(spec.future_frames, dim=1)]
        return to_uint8(unit_from_signed(torch.cat(parts, dim=1)))
    observed_NFCHW = pair.observed_NFCHW[cameras, -spec.observed_frames :].to(device)
    return to_uint8(unit_from_signed(method.rollout(signed_from_uint8(observed_NFCHW), chunks, noise)))


def clip_seeds(seed: int, clips_sha256: str, number: int, cameras: int) -> list[int]:
    """One seed for each camera of a clip; the same whoever predicts it, and in whatever order."""
    # 7 bytes stay below 2^63, so that a seed is a signed 64-bit number wherever it goes.
    texts = [f"{seed} {clips_sha256} {number} {camera}" for camera in range(cameras)]
    return [int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") for text in texts]
