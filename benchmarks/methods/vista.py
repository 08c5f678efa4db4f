"""Vista: Stable Video Diffusion fine-tuned on driving, completing a canvas whose first frames are given.

Sources: paper Table 2 and 4 (576x1024, 17 frames given, 50 steps, CFG 2.5, one round); Vista `sample.py`,
`sample_utils.py`. Given latents are put in place before every step, and the reference frame, which is shown beside all
frames and to the image encoder, is the first given one. `vista_options` says which frames can be given.
Shape legend: B clips, F observed frames, G predicted frames, H W pixels, 3 colours; C h w are latents.
"""

from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.benchmarks.methods import vista_vae
from worldmodel.benchmarks.methods.edm import Guidance, edm_sigmas, euler, triangle
from worldmodel.benchmarks.methods.method import Licences, Method, Noise, Spec
from worldmodel.benchmarks.methods.vista_conditioning import (
    FRAME_RATE,
    VistaCondition,
    denoise,
    image_embedding,
    reference_latents,
)
from worldmodel.benchmarks.methods.vista_networks import (
    BATCH,
    SvdNetworks,
    draw_networks,
    file_of,
    load_networks,
)
from worldmodel.benchmarks.methods.vista_options import FILE, TRAINED_GIVEN, VistaOptions, canvas
from worldmodel.benchmarks.methods.vista_weights import (
    CLIP,
    REFERENCE,
    TEXT_SIDE,
    UNET,
    VAE,
    VistaWeights,
    refuse_strangers,
)
from worldmodel.flow.solvers import Evaluations

WHERE = f"download {FILE} from huggingface.co/OpenDriveLab/Vista (again, if it is from before the corrected upload)"
LICENCES = Licences(
    "Apache-2.0 (Vista)", "Apache-2.0 by its page; fine-tuned from Stable Video Diffusion, whose licence may bind"
)
SIGMAS = (0.002, 700.0)
REMARKS = {
    "all": "The network was trained with at most 3 given frames.",
    "first": "As upstream's default, only the first observed frame is given; the frames behind the observed are kept.",
    "trained": "As in training, the last 3 observed frames are given.",
}
INFERRED = "Inferred: the paper says 17 given frames, not how; its number of evaluations fits 1 given frame as well."
NO_ACTION = "No action is given."
RATE = "The network is told 10 frames a second, as upstream does for nuScenes' 12."


class Vista(Method):
    """Vista as a method. Noise is drawn for `posterior` (once) and `latents` (once a round)."""

    def __init__(self, options: VistaOptions, networks: SvdNetworks) -> None:
        """Raises `InputError` for options that do not fit together."""
        self.options, self.canvas, self._networks = options, canvas(options), networks

    @property
    def spec(self) -> Spec:
        options = self.options
        height, width = (side // 8 for side in options.size)
        first, last = self.canvas.known, self.canvas.known + options.future_frames - 1
        frames = (
            f"{self.canvas.frames}x{height}x{width} latents, {options.given} given ({self.canvas}), "
            f"{options.rounds} round(s), frames {first}-{last} kept"
        )
        return Spec(
            "vista", options.size, frames, LICENCES, options.observed_frames, options.future_frames, options.steps,
            options.guidance, options.steps * options.rounds, FRAME_RATE, BATCH, remarks=self._remarks(),
        )  # fmt: skip

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return self._networks.by_name()

    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        vae, device = self._networks.vae, self._networks.device
        start = observed.shape[1] - self.canvas.known
        frames = observed[:, start : start + self.options.given].to(device)
        batch, given = frames.shape[:2]
        posterior = noise.normal("posterior", (batch, given, *self._latent_shape))
        given_BFChw = vista_vae.encode(vae, frames, posterior)
        reference = reference_latents(self._networks.reference_encoder, frames[:, 0])
        condition = VistaCondition(self._seen(frames[:, 0]), reference)
        self.evaluations = Evaluations()
        latents_BFChw = self._round(given_BFChw, condition, noise)
        for _ in range(self.options.rounds - 1):
            latents_BFChw = torch.cat([latents_BFChw, self._later_round(latents_BFChw, noise)], dim=1)
        video = vista_vae.decode(vae, latents_BFChw)
        first = self.canvas.known
        return video[:, first : first + self.options.future_frames].clamp(-1, 1)

    def _later_round(self, latents_BFChw: Float[Tensor, "B F C h w"], noise: Noise) -> Float[Tensor, "B f C h w"]:
        """New latents, after the last three, the first of which is the reference."""
        last_BFChw = latents_BFChw[:, -TRAINED_GIVEN:]
        frame = vista_vae.decode(self._networks.vae, latents_BFChw[:, -vista_vae.WINDOW :])[:, -TRAINED_GIVEN]
        reference = last_BFChw[:, 0] / self._networks.vae.config.scaling_factor
        condition = VistaCondition(self._seen(frame), reference)
        return self._round(last_BFChw, condition, noise)[:, TRAINED_GIVEN:]

    def _round(
        self, given_BFChw: Float[Tensor, "B f C h w"], condition: VistaCondition, noise: Noise
    ) -> Float[Tensor, "B F C h w"]:
        """All latents of a canvas whose first frames are given."""
        batch, given = given_BFChw.shape[:2]
        start = noise.normal("latents", (batch, self.canvas.frames, *self._latent_shape)).to(given_BFChw)
        placed_BFChw = torch.zeros_like(start)
        placed_BFChw[:, :given] = given_BFChw
        given_F = (torch.arange(self.canvas.frames, device=start.device) < given).to(start.dtype)
        network = partial(denoise, self._networks.unet, given_F=given_F)
        guidance, without = self._guidance(), condition.without()

        def guided(x_BFChw: Tensor, sigma_BF: Tensor) -> Tensor:
            return guidance(network, x_BFChw, sigma_BF, condition, without)

        sigmas = edm_sigmas(self.options.steps, *SIGMAS)
        latents_BFChw = euler(guided, start, sigmas, placed_BFChw, given_F)
        self.evaluations += guidance.evaluations
        return latents_BFChw

    def _guidance(self) -> Guidance:
        scale = self.options.guidance
        return Guidance(scale if self.options.rounds == 1 else triangle(self.canvas.frames, 1.0, scale))

    def _seen(self, frame_BCHW: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 D"]:
        return image_embedding(self._networks.image_encoder, frame_BCHW)

    @property
    def _latent_shape(self) -> tuple[int, int, int]:
        return self._networks.latent_shape(self.options.size)

    def _remarks(self) -> tuple[str, ...]:
        mode, scale = self.canvas.mode, self.options.guidance
        as_usual = mode == "all" and self.options.given <= TRAINED_GIVEN
        remarks: tuple[str, ...] = () if as_usual else (REMARKS[mode],)
        if self.options.rounds > 1:
            remarks += (f"As upstream with several rounds, guidance is 1 at the canvas' ends, {scale} in its middle.",)
        return (*remarks, *((INFERRED,) if mode == "all" and not as_usual else ()), NO_ACTION, RATE)


def load_vista(options: VistaOptions) -> Vista:
    """Vista from its published file, or with random weights.

    Raises:
        InputError: no such file (it says where people get it), a missing, extra or misshapen key, or options that do
            not fit together.
    """
    canvas(options)  # wrong options are told before gigabytes are read
    if options.weights == "random":
        return Vista(options, draw_networks(options, clip=True))
    weights = VistaWeights(file_of(options.weights, FILE, WHERE))
    refuse_strangers(weights, (UNET, VAE, CLIP, REFERENCE, *TEXT_SIDE))
    return Vista(options, load_networks(options, weights, clip=True))
