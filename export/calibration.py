"""What the graphs meet on clips of a drive: ranges for fp16, and inputs of the step for 8 bits.

Shape legend: B clips, F frames, H height, W width, 3 colours; C f h w latents.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from worldmodel.errors import InputError
from worldmodel.export.graphs.families import Graph
from worldmodel.export.graphs.wan_vae_stream import FirstFrame, NextFrames, streamed
from worldmodel.export.precision import LayerRange, beyond_half, recorded
from worldmodel.export.runtime.manifest_fields import Schedule
from worldmodel.export.sampling import follow

NAME = "ranges.json"


@dataclass(frozen=True)
class Calibration:
    """Latents that predictions start from, and the largest magnitudes at each layer, by part and layer."""

    sources: list[Float32[np.ndarray, "B C f h w"]]
    ranges: dict[str, dict[str, LayerRange]]

    def beyond_half(self, part: str) -> list[str]:
        """Layers of this part that stay in float32 in an fp16 graph."""
        return beyond_half(self.ranges.get(part, {}))

    def write(self, folder: Path) -> Path:
        """Ranges as JSON: part -> layer -> {"input": largest magnitude, "output": ...}."""
        content = {
            part: {layer: asdict(largest) for layer, largest in layers.items()} for part, layers in self.ranges.items()
        }
        (folder / NAME).write_text(json.dumps(content, indent=1) + "\n")
        return folder / NAME


@torch.no_grad()
def calibrate(
    graphs: dict[str, Graph], clips: Sequence[UInt8[np.ndarray, "B F H W 3"]], schedule: Schedule
) -> Calibration:
    """Predict from these clips with the torch graphs in float32."""
    made = {part: graph.make() for part, graph in graphs.items()}
    if next(made["step"].parameters()).dtype != torch.float32:
        raise InputError("calibration: it runs in float32; load a float32 checkpoint, or leave calibration out")
    with recorded(made["encoder"]) as encoder_ranges:
        sources = [made["encoder"](torch.from_numpy(clip)) for clip in clips]
    with recorded(made["step"]) as step_ranges:
        reached = [follow(made["step"], source, schedule)[-1] for source in sources]
    ranges = {"encoder": encoder_ranges, "step": step_ranges} | _decoded(made, reached)
    return Calibration([source.numpy() for source in sources], ranges)


def _decoded(made: dict[str, nn.Module], reached: list[Float[Tensor, "B C f h w"]]) -> dict[str, dict[str, LayerRange]]:
    if "decoder" in made:
        with recorded(made["decoder"]) as decoder_ranges:
            for latents in reached:
                made["decoder"](latents)
        return {"decoder": decoder_ranges}
    first, following = made["decoder_first"], made["decoder_next"]
    assert isinstance(first, FirstFrame) and isinstance(following, NextFrames)
    with recorded(first) as of_first, recorded(following) as of_following:
        for latents in reached:
            streamed(first, following, latents)
    return {"decoder_first": of_first, "decoder_next": of_following}


def random_sources(shape: Sequence[int]) -> Calibration:
    """For random weights: one draw of normal latents, and no ranges."""
    return Calibration([np.random.default_rng(0).standard_normal(shape, np.float32)], {})
