"""The contract of every world model in the harness: observed frames in, the next frames out, the cost counted.

Shape legend: B clips, F observed frames, G predicted frames, H height, W width, 3 colours.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.flow.solvers import Evaluations


@dataclass(frozen=True)
class Licences:
    """What a person must know before using the numbers: licences of the published code and of its weights."""

    code: str
    weights: str


@dataclass(frozen=True)
class Spec:
    """How a method is run; all of it is printed beside its numbers.

    Attributes:
        name: the method's name in the registry.
        size: height and width of the frames that it is given and returns.
        observed_frames: how many observed frames it is given, the last ones before the future.
        future_frames: how many it returns.
        canvas: what the network works on, in words: frames, latents, which are given, which are kept.
        steps: of the sampler. guidance: scale of classifier-free guidance; 1 is none.
        nfe: guided evaluations of one prediction, which every prediction must have had; 0 for methods without network.
        frame_rate: what the network is told, frames a second; None where it is not told.
        licences: of code and weights.
        batch: most clips at once; None is any number.
        sees_truth: it sees the future: an upper bound, not a prediction.
        remarks: where this differs from the published set-up, and what the paper leaves open; one sentence each.
        backbone: family of the pretrained model, for methods that run on several: ltx, wan, tiny.
        conventions: of this package's own methods: paper or published, see `worldmodel.conventions`.
    """

    name: str
    size: tuple[int, int]
    canvas: str
    licences: Licences
    observed_frames: int = 17
    future_frames: int = 17
    steps: int = 0
    guidance: float = 1.0
    nfe: int = 0
    frame_rate: float | None = None
    batch: int | None = None
    sees_truth: bool = False
    remarks: tuple[str, ...] = field(default=())
    backbone: str = ""
    conventions: str = ""


class Noise(ABC):
    """Where the random numbers of a prediction come from; one object serves one batch of clips."""

    @abstractmethod
    def normal(self, name: str, shape: Sequence[int]) -> Float[Tensor, "B ..."]:
        """Standard normal float32 numbers of `shape` [B, ...], on the CPU. `name` says what for."""

    def generators(self) -> list[torch.Generator]:
        """One per clip, for libraries that draw themselves."""
        raise ValueError("this noise was drawn elsewhere, it has no generators")


class SeededNoise(Noise):
    """Every clip draws from its own seed, in the order of the calls: the batch and the process do not matter."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, name: str, shape: Sequence[int]) -> Float[Tensor, "B ..."]:
        if shape[0] != len(self._generators):
            raise ValueError(f"noise {name!r} for {shape[0]} clips, but there are seeds of {len(self._generators)}")
        return torch.stack([torch.randn(*shape[1:], generator=generator) for generator in self._generators])

    def generators(self) -> list[torch.Generator]:
        return self._generators


class GivenNoise(Noise):
    """Random numbers that were drawn elsewhere: by name, one tensor after the other."""

    def __init__(self, tensors: Mapping[str, Sequence[Tensor]]) -> None:
        self._left = {name: list(given) for name, given in tensors.items()}

    def normal(self, name: str, shape: Sequence[int]) -> Float[Tensor, "B ..."]:
        if not self._left.get(name):
            raise ValueError(f"no noise {name!r} is left")
        given = self._left[name].pop(0)
        if tuple(given.shape) != tuple(shape):
            raise ValueError(f"noise {name!r}: given {tuple(given.shape)}, asked for {tuple(shape)}")
        return given.float()


class Method(ABC):
    """A world model. `run` is what the harness calls; a new method writes `spec` and `predict`.

    Attributes:
        clip_rate: frames a second of the clips to come, where the harness knows; None is what the options say.
        clip_name, caption: of the clip to come: its scene or video, and what its list says it shows.
    """

    clip_rate: float | None = None
    clip_name: str = ""
    caption: str = ""

    @cached_property
    def evaluations(self) -> Evaluations:
        """What the last prediction cost; `predict` sets it. A method without a network leaves it at zero."""
        return Evaluations()

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """How it is run."""

    @property
    @abstractmethod
    def networks(self) -> Mapping[str, torch.nn.Module]:
        """Its modules by name: what is moved to a device, hashed, and measured. Empty for methods without weights."""

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU for a method without any."""
        weights = (weight for network in self.networks.values() for weight in network.parameters())
        return next((weight.device for weight in weights), torch.device("cpu"))

    @abstractmethod
    def predict(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        """The frames right after `observed`, both in [-1, 1] and of `spec.size`; sets `evaluations`."""

    @torch.no_grad()
    def run(self, observed: Float[Tensor, "B F 3 H W"], noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        """`predict`, with what goes in and what comes out checked against `spec`.

        A method that `sees_truth` is given the future instead of the observed frames.

        Raises:
            InputError: frames of another size or number, or a prediction that cost other than `spec.nfe` evaluations.
        """
        spec = self.spec
        frames = spec.future_frames if spec.sees_truth else spec.observed_frames
        self._check("given", observed, (len(observed), frames, 3, *spec.size))
        future = self.predict(observed, noise)
        if self.evaluations.guided_evals != spec.nfe:
            raise InputError(f"{spec.name}: {self.evaluations.guided_evals} evaluations, {spec.nfe} are expected")
        self._check("gave", future, (len(observed), spec.future_frames, 3, *spec.size))
        return future

    def rollout(self, observed: Float[Tensor, "B F 3 H W"], chunks: int, noise: Noise) -> Float[Tensor, "B G 3 H W"]:
        """`chunks` predictions after each other, each from the last frames before it; G is all their frames."""
        spec, seen = self.spec, observed
        for _ in range(chunks):
            seen = torch.cat([seen, self.run(seen[:, -spec.observed_frames :], noise)], dim=1)
        return seen[:, observed.shape[1] :]

    def _check(self, verb: str, frames: Tensor, wanted: tuple[int, ...]) -> None:
        if tuple(frames.shape) != wanted:
            raise InputError(f"{self.spec.name}: {verb} frames of shape {list(frames.shape)}, expected {list(wanted)}")
