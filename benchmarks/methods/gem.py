"""GEM: Vista's network denoising a pyramid of frames, of which the first are given. Re-implemented conditioning.

Sources: paper Table 2 and 4 (576x576, 17 frames given, 117 evaluations, CFG 1.5); GEM `sample.py`, `sample_utils.py`,
`sampling.py`, `configs/training/stage2.yaml`. The released code stops with an error as soon as a frame is given, so
how the paper's authors gave 17 is not known. Here: latents without depth (the RGB path), given latents put in place
before every evaluation, and as reference frame the first given one, then each frame that leaves the window.
`given=0` is upstream's default, which shows the first observed frame as reference only; as 17 given frames it costs
117 evaluations.
Shape legend: B clips, F observed frames, G predicted frames, W frames of a window, H W pixels, 3 colours; C h w are
latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.backbones.random import drawn
from worldmodel.benchmarks.methods import vista_vae
from worldmodel.benchmarks.methods.dino_cnn import FEATURES, DinoCnn, read_residuals
from worldmodel.benchmarks.methods.edm import Guidance
from worldmodel.benchmarks.methods.gem_sampler import Pyramid, pyramid_euler
from worldmodel.benchmarks.methods.method import Licences, Method, Noise, Spec
from worldmodel.benchmarks.methods.vista_conditioning import FRAME_RATE, VistaCondition, denoise, reference_latents
from worldmodel.benchmarks.methods.vista_networks import (
    BATCH,
    SvdNetworks,
    SvdOptions,
    check_size,
    draw_networks,
    file_of,
    load_networks,
    places,
)
from worldmodel.benchmarks.methods.vista_weights import REFERENCE, UNET, VAE, VistaWeights, refuse_strangers
from worldmodel.errors import InputError
from worldmodel.settings import Count, Natural, NotNegative, Size, Text

FILE = "gem.safetensors"
WHERE = f"download {FILE} from huggingface.co/mariam-hassan/GEM"
LICENCES = Licences("Apache-2.0 (GEM)", "not stated; fine-tuned from Vista and Stable Video Diffusion")
# In the file, not used without controls: depth, human poses, objects.
UNUSED_IN_UNET = ("dino_cnn.", "depth_in.", "out_depth.", "skeleton_context_proj.")
UNUSED_EMBEDDERS = tuple(f"conditioner.embedders.{index}." for index in (0, 5, 7))
REMARKS = (
    "Re-implemented conditioning: GEM's released code stops when frames are given; the paper's own way is not known.",
    "Inferred: 17 frames given among the latents, RGB alone, the first as reference, a square crop for 576x576.",
    "No depth, pose, object or trajectory is given, and the pose branch is left out.",
    "The network is told 10 frames a second, as Vista is for nuScenes' 12.",
)
DINO_REMARKS = {
    "none": "The DINO branch is left out; upstream's adds a constant where no features are given.",
    "random": "The DINO branch is a stand-in with random weights.",
    "file": "The constant that upstream's DINO branch adds where no features are given was read from a file.",
}


@dataclass(frozen=True)
class GemOptions(SvdOptions):
    """How GEM is run; the defaults are the paper's row. See `SvdOptions` for weights, sizes, size, dtype and device.

    Attributes:
        given: how many of the observed frames, from the first on, the network is given; 0 is upstream's default.
        steps: from noise to clean, for each frame. guidance: its scale.
        dino: none; random (a stand-in, for memory and latency); or a .safetensors file with what upstream's DINOCNN
            gives for zeros at this size, `input_blocks.3` and `input_blocks.6`, each [channels, height, width].
    """

    weights: Text = FILE
    size: Size = (576, 576)
    given: Natural = 17
    steps: Count = 50
    guidance: NotNegative = 1.5
    dino: Text = "none"


def pyramid(options: GemOptions) -> Pyramid:
    """When which frame is denoised; raises `InputError` for options that do not fit together."""
    check_size(options.size)
    if not 0 <= options.given <= options.observed_frames:
        raise InputError(f"given={options.given}: use 0 to {options.observed_frames} (all observed frames)")
    return Pyramid(options.observed_frames + options.future_frames, options.steps)


class Gem(Method):
    """GEM as a method. Noise is drawn for `posterior` (where frames are given) and `latents`."""

    def __init__(self, options: GemOptions, networks: SvdNetworks, dino: DinoCnn | None = None) -> None:
        """Raises `InputError` for options that do not fit together."""
        self.options, self.pyramid = options, pyramid(options)
        self._networks, self._dino = networks, dino
        self._residuals = self._constant_residuals()

    @property
    def spec(self) -> Spec:
        options, frames = self.options, self.pyramid.frames
        height, width = (side // 8 for side in options.size)
        canvas = (
            f"{frames}x{height}x{width} latents in windows of {self.pyramid.window}, {options.given} given, "
            f"frames {options.observed_frames}-{frames - 1} kept"
        )
        dino = options.dino if options.dino in DINO_REMARKS else "file"
        return Spec(
            "gem", options.size, canvas, LICENCES, options.observed_frames, options.future_frames, options.steps,
            options.guidance, self.pyramid.nfe, FRAME_RATE, BATCH, remarks=(*REMARKS, DINO_REMARKS[dino]),
        )  # fmt: skip

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {**self._networks.by_name(), **({"dino_cnn": self._dino} if self._dino is not None else {})}

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        frames = observed.to(self._networks.device)
        shape = self._networks.latent_shape(self.options.size)
        placed_BFChw = self._placed(frames, noise)
        start = noise.normal("latents", (len(frames), self.pyramid.frames, *shape)).to(frames.device)
        latents_BFChw = self._sample(start, placed_BFChw, frames[:, 0])
        video = vista_vae.decode(self._networks.vae, latents_BFChw)
        return video[:, self.options.observed_frames :].clamp(-1, 1)

    def _placed(self, frames: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B f C h w"]:
        """Latents of the whole canvas: those of the given frames, zeros behind them."""
        given, shape = self.options.given, self._networks.latent_shape(self.options.size)
        placed_BFChw = torch.zeros(len(frames), self.pyramid.frames, *shape, device=frames.device)
        if given:
            posterior = noise.normal("posterior", (len(frames), given, *shape))
            placed_BFChw[:, :given] = vista_vae.encode(self._networks.vae, frames[:, :given], posterior)
        return placed_BFChw

    def _sample(
        self,
        noise_BFChw: Float[Tensor, "B F C h w"],
        placed_BFChw: Float[Tensor, "B F C h w"],
        first: Float[Tensor, "B 3 H W"],
    ) -> Float[Tensor, "B F C h w"]:
        networks, guidance = self._networks, Guidance(self.options.guidance)
        given_F = (torch.arange(self.pyramid.frames, device=first.device) < self.options.given).float()
        condition = self._condition(reference_latents(networks.reference_encoder, first))

        def guided(x_BWChw: Tensor, sigma_BW: Tensor, seen: slice) -> Tensor:
            network = partial(denoise, networks.unet, given_F=given_F[seen])
            return guidance(network, x_BWChw, sigma_BW, condition, condition.without())

        def show(latents_BChw: Tensor) -> None:
            nonlocal condition
            condition = replace(condition, reference_BChw=latents_BChw / networks.vae.config.scaling_factor)

        latents_BFChw = pyramid_euler(guided, noise_BFChw, self.pyramid, placed_BFChw, given_F, show)
        self.evaluations = guidance.evaluations
        return latents_BFChw

    def _condition(self, reference_BChw: Float[Tensor, "B C h w"]) -> VistaCondition:
        """No image embedding: GEM was trained with zeros in its place."""
        batch = len(reference_BChw)
        context_BTD = reference_BChw.new_zeros(batch, 1, self._networks.unet.config.cross_attention_dim)
        residuals = {at: value.to(reference_BChw).expand(batch, -1, -1, -1) for at, value in self._residuals.items()}
        return VistaCondition(context_BTD, reference_BChw, residuals)

    @torch.no_grad()
    def _constant_residuals(self) -> dict[int, Tensor]:
        """What the DINO branch adds where no features are given; nothing where there is no branch."""
        if self.options.dino == "none":
            return {}
        unet, (height, width) = self._networks.unet, (side // 8 for side in self.options.size)
        if self._dino is None:
            return read_residuals(Path(self.options.dino), unet.config.block_out_channels, (height, width))
        weight = self._dino.first.weight
        return self._dino(weight.new_zeros(1, FEATURES, height // 2, width // 2))


def load_gem(options: GemOptions) -> Gem:
    """GEM from its published file, or with random weights.

    Raises:
        InputError: no such file (it says where people get it), a missing, extra or misshapen key, or options that do
            not fit together.
    """
    pyramid(options)  # wrong options are told before gigabytes are read
    if options.weights == "random":
        networks = draw_networks(options, clip=False)
    else:
        weights = VistaWeights(file_of(options.weights, FILE, WHERE))
        refuse_strangers(weights, (UNET, VAE, REFERENCE, *UNUSED_EMBEDDERS))
        networks = load_networks(options, weights, clip=False, unused=UNUSED_IN_UNET)
    return Gem(options, networks, _stand_in(options, networks) if options.dino == "random" else None)


def _stand_in(options: GemOptions, networks: SvdNetworks) -> DinoCnn:
    place = places(options)[0]
    with drawn(place.dtype or torch.float32, place.device, seed=1):
        branch = DinoCnn(networks.unet.config.block_out_channels[:2])
    return branch.requires_grad_(False).eval()
