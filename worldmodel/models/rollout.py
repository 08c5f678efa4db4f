"""Several chunks, each predicted from the one before, and what a prediction gives.

Shape legend: B videos, F frames, H height, W width, 3 colours; C f h w are latents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.flow.solvers import Evaluations
from worldmodel.pixels import present


@dataclass
class FlowFramesOutput(BaseOutput):
    """A prediction.

    Attributes:
        frames: the future as `output_type` says: "pt" [B, F, 3, H, W] and "np" [B, F, H, W, 3] in [0, 1], "pil"
            lists of images, "latent" [B, C, f, h, w]. A rollout of n chunks has n times as many frames.
        latents: predicted normalised latents [B, C, f, h, w]; a rollout has n * f, and each chunk decodes alone.
        evaluations: what it cost; `guidance_skipped` says why guidance was not computed.
    """

    frames: Any
    latents: Tensor
    evaluations: Evaluations


def roll_out(
    predict: Callable[..., Any],
    video: Any,
    chunks: int,
    feed: str,
    output_type: str,
    prediction: Mapping[str, Any],
) -> FlowFramesOutput:
    """`chunks` chunks by `predict`, a pipeline that is called with `prediction`; see `FlowFramesPipeline.rollout`."""
    if chunks < 1:
        raise InputError(f"chunks={chunks}: use at least 1")
    if feed not in ("frames", "latents"):
        raise InputError(f"feed={feed!r}: use frames or latents")
    # Frames are decoded where somebody looks at them: the caller, or the encoder of the next chunk.
    chunk_type = "latent" if (output_type, feed) == ("latent", "latents") else "pt"
    results: list[FlowFramesOutput] = []
    observed = {"video": video}
    for _ in range(chunks):
        result = predict(**observed, output_type=chunk_type, **prediction)
        results.append(result)
        observed = {"video": result.frames} if feed == "frames" else {"latents": result.latents}
    latents = torch.cat([result.latents for result in results], dim=2)
    frames = latents
    if output_type != "latent":
        frames = present(torch.cat([result.frames for result in results], dim=1), output_type)
    evaluations = sum((result.evaluations for result in results[1:]), results[0].evaluations)
    return FlowFramesOutput(frames, latents, evaluations)
