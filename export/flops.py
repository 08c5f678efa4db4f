"""What the parts of a published model, or of an artifact, compute: the kit's counts for this room's models and graphs.

Shape legend: B clips; C f h w latents; L prompt tokens.
"""

import re
from pathlib import Path
from typing import Any

from worldmodel.export.runtime.artifact import Artifact
from worldmodel.measure.flops import NOTHING, PartWork, work_of_call, work_of_graph

BAKED = re.compile(r"(^|\.)(attn2\.(to_k|to_v|norm_k)|caption_projection|text_embedder)(\.|$)")
FOLDED = re.compile(r"(^|\.)(attn2|caption_projection|text_embedder)(\.|$)")
"""Modules that a baked prompt makes constant; with one token cross-attention is constant altogether."""


def work_of_family(
    family: str,
    size: tuple[int, int, int],
    cameras: int = 1,
    guided: bool = False,
    prompt_tokens: int = 1,
    baked: bool = True,
) -> dict[str, PartWork]:
    """Encoder, step and decoder of the published model, counted on torch's meta device: no weights are made.

    Args:
        size: frames, height and width of a clip.
        cameras: clips at once.
        guided: each step evaluates two prompts.
        prompt_tokens: that cross-attention attends to.
        baked: without what a baked prompt makes constant, as in the exported graphs.

    Raises:
        InputError: another family, or a size without a latent.
    """
    import torch

    from worldmodel.models.families import family_named

    backbone: Any = family_named(family).random_backbone("real", torch.float32, "meta")
    shape = backbone.geometry.latent_shape(*size)
    if backbone.text_length is not None:
        backbone.text_length = prompt_tokens  # unpadded: equal keys are one key in the exported graph
    batch, width = cameras * (1 + guided), backbone.prompt_width
    shapes = ((cameras, 3, *size), (cameras, *shape), (batch, *shape), (1, prompt_tokens, width), (batch,))
    video, latents, rows, prompt, sigma = (torch.empty(axes, device="meta") for axes in shapes)
    video_bytes, latents_bytes = video.numel(), 4 * latents.numel()
    vae, transformer = backbone.vae, backbone.transformer
    constant = NOTHING if not baked else FOLDED if prompt_tokens == 1 else BAKED
    with torch.no_grad():
        return {
            "encoder": work_of_call(lambda: backbone.encode(video), vae.encoder, video_bytes + latents_bytes),
            "step": work_of_call(
                lambda: backbone.velocity(rows, sigma, prompt),
                transformer,
                2 * latents_bytes,
                constant,
                _quantised_linears(transformer, constant),
            ),
            "decoder": work_of_call(lambda: backbone.decode(latents), vae.decoder, latents_bytes + video_bytes),
        }


def _quantised_linears(module: Any, constant: re.Pattern[str]) -> dict[str, int]:
    """Numbers of weights of each linear that `quantise` would take, by name."""
    from torch import nn

    from worldmodel.export.quantisation.linears import IN_BLOCK, wide_blocks

    linears = {
        name: (int(match[1]), linear.weight.numel())
        for name, linear in module.named_modules()
        if isinstance(linear, nn.Linear) and (match := IN_BLOCK.search(name)) and not constant.search(name)
    }
    blocks = max((block + 1 for block, _ in linears.values()), default=0)
    ends = wide_blocks(blocks)
    return {name: weights for name, (block, weights) in linears.items() if ends <= block < blocks - ends}


def work_of_artifact(artifact: Artifact) -> dict[str, PartWork]:
    """The same, by part, from the ONNX files; `InputError` where one is missing or altered, or its shapes are free."""
    return {part: work_of_file(path) for part, path in artifact.onnx_files(artifact.parts).items()}


def work_of_file(path: Path) -> PartWork:
    """Work of one ONNX file of fixed shapes."""
    from worldmodel.export.check.rules import load_graph

    graph = load_graph(path)
    return work_of_graph(graph, path, eight_bit_products(graph))


def eight_bit_products(model: Any) -> list[Any]:
    """MatMuls in 8 bits; in a graph without any those that `quantise` would take."""
    from worldmodel.export.quantisation.linears import kept_wide, linears_of

    quantised = [
        node
        for node in model.graph
        if node.op_type == "MatMul"
        and (producer := node.inputs[1].producer())
        and producer.op_type == "DequantizeLinear"
    ]
    if quantised:
        return quantised
    linears = linears_of(model)
    kept = kept_wide(linears, ())
    return [linear.node for linear in linears if linear.name not in kept]
