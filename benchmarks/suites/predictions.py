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


def predict_clip(method: Method, sample: PixelPair, seeds: Sequence[int], chunks: int, device: torch.device) -> tuple[
    UInt8[Tensor, "N G 3 H W"], Cost
]:  # fmt: skip
    """`chunks` chunks of every camera of one clip; `seeds` has one for each camera."""
    spec = method.spec
    method.clip_rate = sample.frame_rate or None
    step, parts = spec.batch or len(seeds), []
    begun = now(device)
    for first in range(0, len(seeds), step):
        part = slice(first, first + step)
        parts.append(_predict(method, sample, part, SeededNoise(seeds[part]), chunks, device))
    cost: Evaluations = method.evaluations
    taken = Cost(now(device) - begun, cost.guided_evals, cost.forward_calls, cost.forward_batch)
    return torch.cat(parts), taken


def _predict(
    method: Method, sample: PixelPair, part: slice, noise: SeededNoise, chunks: int, device: torch.device
) -> UInt8[Tensor, "N G 3 H W"]:
    spec = method.spec
    if spec.sees_truth:
        frames = sample.future_NGCHW[part, : chunks * spec.future_frames]
        done = [method.run(_scaled(one, device), noise) for one in frames.split(spec.future_frames, dim=1)]
        return to_uint8(unit_from_signed(torch.cat(done, dim=1)))
    observed = _scaled(sample.observed_NFCHW[part, -spec.observed_frames :], device)
    return to_uint8(unit_from_signed(method.rollout(observed, chunks, noise)))


def _scaled(frames: UInt8[Tensor, "N F 3 H W"], device: torch.device) -> Tensor:
    return signed_from_uint8(frames.to(device))


def clip_seeds(seed: int, clips_sha256: str, number: int, cameras: int) -> list[int]:
    """One seed for each camera of a clip; the same whoever predicts it, and in whatever order."""
    said = [f"{seed} {clips_sha256} {number} {camera}" for camera in range(cameras)]
    return [int.from_bytes(hashlib.sha256(one.encode()).digest()[:7], "big") for one in said]
