"""What the paper's text and its published code do differently, as one named choice: plain data, no model.

`paper` is this toolkit's reading of the text and the default; `published` is what FlowC2S, the code that was published
with the paper (arXiv 2604.17625), computes. Every field is a fact on which the two differ; `docs/parity.md` has one
row for each, with what it changes. A pipeline saves the name, and every result says it.

Here k counts latents; a prime is a normalised latent, z' = (z - M) / S with the VAE's mean M and deviation S.
"""

from dataclasses import dataclass
from typing import Literal

from worldmodel.errors import InputError

ConventionsName = Literal["paper", "published"]

NEGATIVE_PROMPT = "worst quality, inconsistent motion, blurry, jittery, distorted"


@dataclass(frozen=True)
class SamplingConventions:
    """How a prediction is made.

    Attributes:
        frame_rate: frames a second that the network is told, whatever the clip's rate; None is the clip's own.
        decode_timestep, decode_noise_scale: of a timestep-conditioned LTX decoder.
        negative_prompt: what guidance goes away from where nothing else is given, so that the empty prompt is guided
            too; None is the empty prompt, which makes guidance of the empty prompt a no-op.
        captions: a clip's caption is its prompt, where there is one and a text encoder; else the prompt is empty unless
            given.
        wan_source: the flow's start is the posterior's mean, or a sample of it (LTX: always the mean).
        wan_first_sigma: UniPC's sigmas before the shift are this times k / n for k = n ... 1; None is diffusers' own.
        wan_whole_timesteps: Wan is fed 1000 sigma truncated to a whole number (LTX: always 1000 sigma itself).
        resample: how pictures come to size: `area`, or `vista`, a cut at the centre followed by LANCZOS.
    """

    frame_rate: float | None
    decode_timestep: float
    decode_noise_scale: float
    negative_prompt: str | None
    captions: bool
    wan_source: Literal["mean", "sample"]
    wan_first_sigma: float | None
    wan_whole_timesteps: bool
    resample: Literal["area", "vista"]


@dataclass(frozen=True)
class TrainingConventions:
    """How a training step is made.

    Attributes:
        frame_rate: frames a second that the network is told; None is the clip's own.
        target: the flow's end is the future posterior's mean, or a sample of it.
        target_seed: seeds that sample, anew in every epoch, so that a pair keeps what it drew; None where none is.
        mixing: the source that target inversion mixes. `normalised`: mean0' + std0' * xhat1. `denormalised`:
            mean0' + std0' * (S * xhat1 + M), since the code denormalises xhat1 before it meets the raw std0.
        coin: whether one number decides for each pair, or for a whole micro-batch, whether its sources are mixed.
        whole_timesteps: the network is fed floor(1000 sigma), while the path keeps the exact sigma.
        captions: the network sees each clip's caption, which the latent cache then keeps; else the empty prompt.
        weight_decay: AdamW's. warmup: steps; both where the run does not say.
    """

    frame_rate: float | None
    target: Literal["mean", "sample"]
    target_seed: int | None
    mixing: Literal["normalised", "denormalised"]
    coin: Literal["pair", "batch"]
    whole_timesteps: bool
    captions: bool
    weight_decay: float
    warmup: int


@dataclass(frozen=True)
class MemoryProtocol:
    """What `suite=memory` reports.

    Attributes:
        encoding: encoding the observed frames is inside the measured window, else only sampling and decoding are.
        volume_chunks: V counts the latents of so many chunks: the observed one, or observed and predicted.
        unit_bytes: of a megabyte: 10^6, or 2^20.
        subtracted: beside what lies above the weights, the peak itself is given (`none`), or only what lies above the
            weights and inputs (`weights`).
        own_frames: observed frames of an LTX or Wan method at the paper's five volumes; None is as Table 5 prints them.
    """

    encoding: bool
    volume_chunks: int
    unit_bytes: int
    subtracted: Literal["none", "weights"]
    own_frames: tuple[int, ...] | None


@dataclass(frozen=True)
class Conventions:
    """One consistent set of choices.

    Attributes:
        name: `paper` or `published`.
        positions: where in time an LTX latent k lies. `causal`: max(0, 8k - 7) / rate seconds, the first frame that it
            covers. `plain`: 8k / rate, without the causal fix.
    """

    name: ConventionsName
    positions: Literal["causal", "plain"]
    sampling: SamplingConventions
    training: TrainingConventions
    memory: MemoryProtocol


PAPER = Conventions(
    name="paper",
    positions="causal",
    sampling=SamplingConventions(
        frame_rate=None,
        decode_timestep=0.05,
        decode_noise_scale=0.025,
        negative_prompt=None,
        captions=False,
        wan_source="mean",
        wan_first_sigma=None,
        wan_whole_timesteps=False,
        resample="area",
    ),
    training=TrainingConventions(
        frame_rate=None,
        target="mean",
        target_seed=None,
        mixing="normalised",
        coin="pair",
        whole_timesteps=False,
        captions=False,
        weight_decay=0.01,
        warmup=50,
    ),
    memory=MemoryProtocol(encoding=True, volume_chunks=1, unit_bytes=10**6, subtracted="none", own_frames=None),
)

PUBLISHED = Conventions(
    name="published",
    positions="plain",
    sampling=SamplingConventions(
        frame_rate=25.0,
        decode_timestep=0.0,
        decode_noise_scale=0.0,
        negative_prompt=NEGATIVE_PROMPT,
        captions=True,
        wan_source="sample",
        wan_first_sigma=0.999,
        wan_whole_timesteps=True,
        resample="vista",
    ),
    training=TrainingConventions(
        frame_rate=24.0,
        target="sample",
        target_seed=4324421,
        mixing="denormalised",
        coin="batch",
        whole_timesteps=True,
        captions=True,
        weight_decay=1e-4,
        warmup=30,
    ),
    memory=MemoryProtocol(
        encoding=False, volume_chunks=2, unit_bytes=2**20, subtracted="weights", own_frames=(17, 25, 33, 41, 65)
    ),
)

_BY_NAME = {conventions.name: conventions for conventions in (PAPER, PUBLISHED)}


def conventions_of(name: str) -> Conventions:
    """The conventions of this name; raises `InputError` for another."""
    if name not in _BY_NAME:
        raise InputError(f"conventions={name}: use {' or '.join(_BY_NAME)}")
    return _BY_NAME[name]
