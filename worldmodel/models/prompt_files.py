"""Embedded prompts from files, for methods that run without a text encoder.

Shape legend: L prompt tokens, D prompt width.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.weights import Weights
from worldmodel.errors import InputError
from worldmodel.files import read_json
from worldmodel.flow.guidance import Prompt

RANDOM_TOKENS = 256  # diffusers' LTXConditionPipeline; Wan pads all prompts to 512


def read_prompt(path: str | None, like_1LD: Float[Tensor, "1 L D"], seed: int = 0) -> Prompt | None:
    """The prompt in a .safetensors file: `embeds` [1, L, D] and perhaps `mask` [1, L]; None without a path.

    It comes in the dtype and on the device of `like_1LD`, a prompt of the network's width D, with a mask of ones where
    the file has none. ``random`` instead of a path is drawn from `seed`: for memory and latency, where what a prompt
    says does not matter. Raises `InputError` for a file without such tensors.
    """
    if path is None:
        return None
    if path == "random":
        generator = torch.Generator().manual_seed(seed)
        drawn_1LD = torch.randn(1, RANDOM_TOKENS, like_1LD.shape[-1], generator=generator)
        return Prompt(drawn_1LD.to(like_1LD), torch.ones(1, RANDOM_TOKENS).to(like_1LD))
    return _prompt_in(Weights(Path(path)), "", like_1LD)


def read_clip_prompts(path: str | None, like_1LD: Float[Tensor, "1 L D"]) -> dict[str, Prompt | str]:
    """One prompt for each scene (nuScenes) or video (OpenVid) by its name; {} without a path.

    A .json file has texts, {"name": "caption", ...}, for pipelines with a text encoder; a .safetensors file has
    `name/embeds` [1, L, D] and perhaps `name/mask` [1, L]. Raises `InputError` for another file.
    """
    if path is None:
        return {}
    if Path(path).suffix == ".json":
        texts = read_json(Path(path))
        if not all(isinstance(text, str) for text in texts.values()):
            raise InputError(f'{path}: give one text for each name, {{"video.mp4": "caption"}}')
        return texts
    weights = Weights(Path(path))
    names = [key.removesuffix("/embeds") for key in weights.names if key.endswith("/embeds")]
    if not names:
        raise InputError(f"{path}: has no tensors NAME/embeds; save one for each scene or video, by its name")
    return {name: _prompt_in(weights, f"{name}/", like_1LD) for name in names}


def _prompt_in(weights: Weights, prefix: str, like_1LD: Float[Tensor, "1 L D"]) -> Prompt:
    path, key, mask = weights.path, f"{prefix}embeds", f"{prefix}mask"
    if key not in weights.names:
        raise InputError(f"{path}: has no tensor {key}; save the text encoder's output [1, tokens, width] under it")
    embeds_1LD = weights.tensor(key).to(like_1LD)
    if embeds_1LD.ndim != 3 or embeds_1LD.shape[::2] != like_1LD.shape[::2]:
        raise InputError(
            f"{path}: {key} is {list(embeds_1LD.shape)}; this network takes [1, L, {like_1LD.shape[-1]}];"
            " embed the prompt with the text encoder that it was trained with"
        )
    mask_1L = torch.ones(embeds_1LD.shape[:2]).to(like_1LD)
    if mask in weights.names:
        mask_1L = weights.tensor(mask).to(like_1LD)
    if mask_1L.shape != embeds_1LD.shape[:2]:
        raise InputError(f"{path}: {mask} is {list(mask_1L.shape)}; give {list(embeds_1LD.shape[:2])}")
    return Prompt(embeds_1LD, mask_1L)


def read_prompts(
    prompt: str | None, negative: str | None, like_1LD: Float[Tensor, "1 L D"]
) -> tuple[Prompt | None, Prompt | None]:
    """Both prompts of guidance, as `read_prompt`; two random ones differ."""
    return read_prompt(prompt, like_1LD, 0), read_prompt(negative, like_1LD, 1)
