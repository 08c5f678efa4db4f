"""Prediction with a causal Wan: what CausVid, Self-Forcing and Causal-Forcing share, down to the layout of their files.

The observed frames become the first blocks of one causal sequence, the future its next blocks, and the sequence is
decoded as a whole: the new latents alone would be decoded as if the first of them were a single frame.

Shape legend: B clips, F observed frames, G predicted frames, H height, W width, 3 colours; C f h w are latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.official import Config
from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.backbones.wan.configs import WAN_21_13B
from worldmodel.backbones.wan.official import TRANSFORMER, load_vae
from worldmodel.backbones.weights import Weights
from worldmodel.benchmarks.methods.causal_wan import CausalWan, FewSteps, continue_latents
from worldmodel.benchmarks.methods.method import Licences, Method, Noise, Spec
from worldmodel.errors import InputError
from worldmodel.files import read_json
from worldmodel.flow.guidance import Prompt
from worldmodel.models.families import WAN
from worldmodel.models.open import chosen_device
from worldmodel.models.prompt_files import read_prompt
from worldmodel.settings import Count, Device, Settings, Size, Text

PREFIX = "model."  # the published wrapper holds the network under this name
TRAINED_BLOCK = 3
VAE_WHERE = "download Wan2.1_VAE.pth from huggingface.co/Wan-AI/Wan2.1-T2V-1.3B"


@dataclass(frozen=True)
class CausalOptions(Settings):
    """How a causal Wan is run; the defaults are the paper's row.

    Attributes:
        weights: the official .pt file; `random` draws weights (of the VAE too), which is enough for memory and latency.
            sizes: of random weights; real is the published one, tiny is for tests.
        vae: the official Wan2.1_VAE.pth.
        config: a JSON file with `transformer` and `vae` in Wan's words, for a network of another size; null is 1.3B.
        size: height and width, multiples of 16. future_frames: how many of the new ones are kept.
        observed_frames: given ones. The last of them that fill whole blocks are used: 4 k block - 3.
        block: latents in a block; 5 is the paper's row, 3 what the networks were trained with.
        prompt: .safetensors file with `embeds` [1, L, 4096]; null is the empty prompt, for which zeros stand.
        dtype: of the weights. device: auto, cpu, cuda, cuda:N.
    """

    weights: Text = "model.pt"
    sizes: Literal["real", "tiny"] = "real"
    vae: Text = "Wan2.1_VAE.pth"
    config: Text | None = None
    size: Size = (480, 832)
    observed_frames: Count = 17
    future_frames: Count = 17
    block: Count = 5
    prompt: Text | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Device = "auto"


@dataclass(frozen=True)
class Recipe:
    """What one published model brings along.

    Attributes:
        entry: the table of the official file that holds the network. where: how people get that file.
        remarks: one sentence each.
    """

    name: str
    steps: FewSteps
    entry: str
    where: str
    licences: Licences
    remarks: tuple[str, ...] = ()


class CausalPrediction(Method):
    """A causal Wan as a method. Noise is drawn for `latents` and, between the steps of each block, for `renoise`."""

    def __init__(self, recipe: Recipe, options: CausalOptions, backbone: WanBackbone, prompt: Prompt | None) -> None:
        """`prompt` of one row, None is the empty one. Raises `InputError` for a size without a latent, or too few
        observed frames for one block."""
        self.recipe, self.options, self.backbone = recipe, options, backbone
        ratio, block = backbone.geometry.temporal, options.block
        observed_latents = (options.observed_frames - 1) // ratio + 1
        if not 1 <= block <= observed_latents:
            raise InputError(
                f"block={block}: {options.observed_frames} observed frames are {observed_latents} latents; "
                f"use a block from 1 to {observed_latents}"
            )
        self.given_latents = observed_latents // block * block
        self.new_latents = -(-options.future_frames // (ratio * block)) * block
        self.given_frames = ratio * (self.given_latents - 1) + 1
        backbone.geometry.check(self.given_frames, *options.size)
        self.causal = CausalWan(backbone)
        self.prompt = prompt or Prompt(*backbone.empty_prompt())

    @property
    def spec(self) -> Spec:
        options, given, new = self.options, self.given_latents, self.new_latents
        steps = len(self.recipe.steps.listed)
        frames = self.given_frames + self.backbone.geometry.temporal * new
        kept = (
            f"{frames} frames in {given + new} latents, blocks of {options.block}: {given} given (the last "
            f"{self.given_frames} observed frames), {new} new; decoded as one, frames "
            f"{self.given_frames}-{self.given_frames + options.future_frames - 1} kept"
        )
        nfe = given // options.block + new // options.block * (steps + 1)
        return Spec(
            self.recipe.name, options.size, kept, self.recipe.licences, options.observed_frames, options.future_frames,
            steps, nfe=nfe, remarks=self._remarks(),
        )  # fmt: skip

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {"vae": self.backbone.vae, "transformer": self.backbone.transformer}

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        weight = next(self.backbone.vae.parameters())
        last_BCFHW = observed[:, -self.given_frames :].transpose(1, 2).to(weight.device)
        given_BCfhw = self.backbone.encode(last_BCFHW).mean_BCfhw
        canvas_BCfhw = torch.cat([given_BCfhw, self.predict_latents(given_BCfhw, noise)], dim=2)
        canvas_BCFHW = self.backbone.decode(canvas_BCfhw)
        future_BCGHW = canvas_BCFHW[:, :, self.given_frames :][:, :, : self.options.future_frames]
        return future_BCGHW.transpose(1, 2).float().to(observed.device)

    def predict_latents(self, given: Float[Tensor, "B C f h w"], noise: Noise) -> Float[Tensor, "B C g h w"]:
        """The normalised latents after the given ones, which fill whole blocks; sets `evaluations`."""
        block, steps = self.options.block, self.recipe.steps
        new = continue_latents(self.causal, given, self.new_latents, block, steps, self.prompt, noise)
        self.evaluations = self.causal.evaluations
        return new

    def _remarks(self) -> tuple[str, ...]:
        return (
            *self.recipe.remarks,
            "The prompt is empty, with zeros for its embedding."
            if self.options.prompt is None
            else "One given prompt.",
            "The last evaluation fills a cache that nothing reads; the published code makes it, the paper counts it.",
            "The cache holds the tokens of this sequence; the published code allocates 32,760 whatever it predicts.",
            "The network is told no frame rate; it was trained at 16 frames a second.",
            f"Trained with blocks of {TRAINED_BLOCK} latents"
            + ("." if self.options.block == TRAINED_BLOCK else f"; blocks of {self.options.block} are new to it."),
        )


class GeneratorWeights(Weights):
    """The table `entry` of an official file {"generator": {"model.<key>": tensor}, ...}, names without FSDP's marks."""

    def __init__(self, path: Path, entry: str) -> None:
        self._entry = entry
        super().__init__(path)

    def _table(self, path: Path, loaded: object) -> dict[str, Tensor]:
        table = loaded.get(self._entry) if isinstance(loaded, dict) else None
        if not isinstance(table, dict) or not all(isinstance(value, Tensor) for value in table.values()):
            raise InputError(f"{path}: holds no table of tensors {self._entry!r}; use the official file")
        return {name.replace("_fsdp_wrapped_module.", ""): value for name, value in table.items()}


def load_causal_prediction(recipe: Recipe, options: CausalOptions) -> CausalPrediction:
    """Raises `InputError` for weights that are not there, and for the first missing, extra or misshapen key."""
    device, dtype = chosen_device(options.device), getattr(torch, options.dtype)
    backbone: Any
    if options.weights == "random":
        backbone = WAN.random_backbone(options.sizes, dtype, device)
    else:
        config: Config = WAN_21_13B if options.config is None else read_json(Path(options.config))
        for path, where in ((options.weights, recipe.where), (options.vae, VAE_WHERE)):
            if not Path(path).is_file():
                raise InputError(f"{path}: no such file; {where}, or use weights=random for memory and latency")
        weights = GeneratorWeights(Path(options.weights), recipe.entry)
        transformer = load_generator(weights, config, dtype, device)
        vae = load_vae(Path(options.vae), config, dtype, device)
        backbone = WanBackbone(vae, transformer, text_length=config["transformer"].get("text_len", 512))
    return CausalPrediction(recipe, options, backbone, read_prompt(options.prompt, backbone.empty_prompt()[0]))


def load_generator(weights: Weights, config: Config, dtype: torch.dtype, device: torch.device) -> Any:
    """The network of an official file; `config` in Wan's words. `InputError` names the first key that differs."""
    for name in weights.names:
        if not name.startswith(PREFIX):
            raise InputError(f"{weights.path}: key {name} is not under {PREFIX!r}; use the official file")
    return replace(TRANSFORMER, prefix=PREFIX).load(weights, config, dtype, device)
