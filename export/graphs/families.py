"""Which graphs each family has, and what they are traced with.

Shape legend: see `parts.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from worldmodel.backbones.backbone import Backbone
from worldmodel.errors import InputError
from worldmodel.export.graphs.parts import BakedPrompts, Chunk
from worldmodel.export.graphs.wan_vae_stream import example_caches
from worldmodel.models.families import family_of

Inputs = tuple[Tensor | tuple[Tensor, ...], ...]


@dataclass(frozen=True)
class Graph:
    """One graph, not yet made.

    Attributes:
        make: the module, an `nn.Module` which has `input_names` and `output_names`; its weights are the backbone's own.
        examples: inputs to trace the module with, once it is cast.
        free_shapes: `dynamic_shapes` of torch.export; None where all are fixed.
    """

    make: Callable[[], Any]
    examples: Callable[[Any], Inputs]
    free_shapes: Any = None


def graphs_of(backbone: Backbone, chunk: Chunk, prompts: BakedPrompts, stream: bool = False) -> dict[str, Graph]:
    """The graphs of an artifact by the names of its parts: encoder, step, and decoder or decoder_first, decoder_next.

    Raises:
        InputError: a backbone whose family has no graphs, or `stream` for one other than Wan or for graphs of free
            size. Making a graph may raise it as well.
    """
    family = family_of(backbone)
    parts_of, stream_of = family.export_function("onnx_parts"), family.export_function("onnx_stream")
    if parts_of is None:
        raise InputError(f"backbone {type(backbone).__name__}: give a pipeline of LTX-Video, Wan 2.1 or tiny")
    if stream and (chunk.dynamic or stream_of is None):
        raise InputError("wan_decoder=stream: it is for Wan and for graphs of one size; use sequence")
    latents = torch.zeros(chunk.cameras, *backbone.geometry.latent_shape(chunk.frames, chunk.height, chunk.width))
    video = torch.zeros(chunk.cameras, chunk.frames, chunk.height, chunk.width, 3, dtype=torch.uint8)
    parts = parts_of(backbone, chunk, prompts)
    free = _free_shapes(backbone) if chunk.dynamic else {}
    graphs = {
        "encoder": Graph(parts["encoder"], lambda _: (video,), free.get("encoder")),
        "step": Graph(parts["step"], lambda _: (latents, torch.ones(1)), free.get("step")),
        "decoder": Graph(parts["decoder"], lambda _: (latents,), free.get("decoder")),
    }
    if not stream or stream_of is None:
        return graphs
    return {name: graphs[name] for name in ("encoder", "step")} | _streamed(partial(stream_of, backbone), latents)


def _streamed(pair: Callable[[], tuple[Any, Any]], latents: Tensor) -> dict[str, Graph]:
    frame = latents[:, :, :1]
    return {
        "decoder_first": Graph(lambda: pair()[0], lambda _: (frame,)),
        "decoder_next": Graph(lambda: pair()[1], lambda module: (frame, example_caches(module, frame))),
    }


def _free_shapes(backbone: Backbone) -> dict[str, dict[str, Any]]:
    """Batch, frames, height and width of each graph's inputs, tied as the latent geometry ties them."""
    geometry, batch = backbone.geometry, Dim("B", max=64)
    later = Dim("later_latents", min=1, max=64)  # those behind the first
    rows, columns = Dim("rows", min=2, max=512), Dim("columns", min=2, max=512)  # of patches
    unit_h, unit_w = (geometry.spatial * patch for patch in geometry.patch[1:])
    video = {0: batch, 1: geometry.temporal * later + 1, 2: unit_h * rows, 3: unit_w * columns}
    latents = {0: batch, 2: later + 1, 3: _times(geometry.patch[1], rows), 4: _times(geometry.patch[2], columns)}
    return {
        "encoder": {"video": video},
        "step": {"latents": latents, "sigma": None},
        "decoder": {"latents": latents},
    }


def _times(factor: int, dim: Any) -> Any:
    return dim if factor == 1 else factor * dim
