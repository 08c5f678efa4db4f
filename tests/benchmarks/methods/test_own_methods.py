"""FlowFrames and the baselines as methods, and how methods are found by name."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from worldmodel.benchmarks.methods import registry
from worldmodel.benchmarks.methods.method import GivenNoise, Licences, Method, Noise, SeededNoise, Spec
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.errors import InputError

SMALL = {"size": [64, 96], "frames": 9}


def clips(number: int, frames: int = 9, size: tuple[int, int] = (64, 96)) -> Tensor:
    return torch.rand(number, frames, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_repeating_repeats() -> None:
    observed = clips(2)
    future = open_method("repeat_last", SMALL).run(observed, SeededNoise([0, 1]))
    assert torch.equal(future, observed[:, -1:].expand(-1, 9, -1, -1, -1))


def test_every_method_counts_for_itself() -> None:
    """Counting in place must not show in another method, whose class may never call `Method.__init__`."""
    one, other = (open_method("repeat_last", SMALL) for _ in range(2))
    one.evaluations.count_forward(7)
    assert one.evaluations.forward_calls == 1 and other.evaluations.forward_calls == 0
    assert open_method("repeat_last", SMALL).evaluations.forward_batch == 0


@pytest.mark.parametrize("name", ["flowframes", "noise_conditioned"])
def test_a_clip_does_not_depend_on_its_batch(name: str) -> None:
    method = open_method(name, SMALL | {"steps": 2})
    observed = clips(3)
    together = method.run(observed, SeededNoise([5, 6, 7]))
    alone = method.run(observed[1:2], SeededNoise([6]))
    assert together.shape == (3, 9, 3, 64, 96)
    assert float((together[1] - alone[0]).abs().max()) < 1e-4
    assert method.evaluations.guided_evals == method.spec.nfe == 2


def test_noise_matters_where_there_is_some() -> None:
    observed = clips(1)
    for name, differs in (("noise_conditioned", True), ("flowframes", False)):
        method = open_method(name, SMALL | {"steps": 1})
        one, other = (method.run(observed, SeededNoise([seed])) for seed in (1, 2))
        assert (not torch.equal(one, other)) == differs


def test_extrapolation_is_a_straight_line_in_latents() -> None:
    method = open_method("latent_extrapolation", SMALL)
    observed = clips(1)
    latents = method._encode(observed)
    future = method._encode(method.run(observed, SeededNoise([0])))
    step = (latents[:, :, -1] - latents[:, :, 0]) / (latents.shape[2] - 1)
    still = open_method("latent_extrapolation", SMALL).run(clips(1)[:, :1].expand(-1, 9, -1, -1, -1), SeededNoise([0]))
    assert future.shape == latents.shape
    assert step.abs().mean() > 0
    assert still.shape == observed.shape


def test_the_vae_is_shown_the_future() -> None:
    method = open_method("vae_round_trip", SMALL)
    truth = torch.linspace(-1, 1, 96).expand(1, 9, 3, 64, 96).contiguous()
    passed = method.run(truth, SeededNoise([0]))
    assert method.spec.sees_truth
    assert float((passed - truth).square().mean()) < 0.02


def test_a_rollout_goes_on_from_its_own_frames() -> None:
    method = open_method("flowframes", SMALL | {"steps": 1})
    observed = clips(1)
    both = method.rollout(observed, 2, SeededNoise([0]))
    first = method.run(observed, SeededNoise([0]))
    assert torch.equal(both[:, :9], first)
    assert torch.equal(both[:, 9:], method.run(first, SeededNoise([0])))


@pytest.mark.parametrize("family", ["ltx", "wan"])
def test_random_weights_run(family: str) -> None:
    options = {"checkpoint": "random", "family": family, "sizes": "tiny", "steps": 2, **SMALL}
    one, other = (open_method("flowframes", options).run(clips(1), SeededNoise([0])) for _ in range(2))
    assert torch.equal(one, other)
    assert one.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("flowframe", {}, "did you mean flowframes"),
        ("flowframes", {"step": 3}, "unknown key 'step': did you mean steps"),
        ("flowframes", {"steps": "many"}, "steps=many: give a whole number"),
        ("flowframes", {"checkpoint": "nothing"}, "nothing"),
        ("flowframes", {"checkpoint": "random", "family": "svd"}, "svd"),
    ],
)
def test_what_cannot_be_opened_says_why(name: str, options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_method(name, options)


def test_frames_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"given frames of shape \[1, 8, 3, 64, 96\]"):
        open_method("repeat_last", SMALL).run(clips(1, frames=8), SeededNoise([0]))


@dataclass(frozen=True)
class FadeOptions:
    size: tuple[int, int] = (64, 96)


class Fade(Method):
    """Someone else's method: the last frame fades to grey. It claims one evaluation and makes none."""

    def __init__(self, options: FadeOptions) -> None:
        self.options = options

    @property
    def spec(self) -> Spec:
        return Spec("fade", self.options.size, "none", Licences("MIT", "none"), 9, 9, nfe=1)

    @property
    def networks(self) -> dict:
        return {}

    def predict(self, observed: Tensor, noise: Noise) -> Tensor:
        return observed[:, -1:] * torch.linspace(1, 0, 9).view(1, 9, 1, 1, 1)


def load_fade(options: FadeOptions) -> Fade:
    return Fade(options)


def test_methods_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [
        EntryPoint("fade", f"{__name__}:load_fade", registry.GROUP),
        EntryPoint("broken", "no_such_package:load", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: there)
    assert "fade" in registry.method_names()
    with pytest.raises(InputError, match="broken.*cannot be imported"):
        open_method("broken", {})
    with pytest.raises(InputError, match="0 evaluations, 1 are expected"):
        open_method("fade", {"size": [64, 96]}).run(clips(1), SeededNoise([0]))


def test_the_example_of_the_docs_works(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (repository / "docs" / "benchmarks.md").read_text()
    code = next(part for part in page.split("```python\n")[1:] if "class Freeze" in part).split("```")[0]
    (tmp_path / "my_package.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("freeze", "my_package:load", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    observed = clips(1, frames=17)
    future = open_method("freeze", {"size": [64, 96]}).run(observed, SeededNoise([0]))
    assert torch.equal(future[0, 0], observed[0, -1])


def test_given_noise_is_used_up_in_order() -> None:
    noise = GivenNoise({"start": [torch.zeros(1, 2), torch.ones(1, 2)]})
    assert [float(noise.normal("start", (1, 2)).sum()) for _ in range(2)] == [0, 2]
    with pytest.raises(ValueError, match="no noise 'start' is left"):
        noise.normal("start", (1, 2))


RANDOM = {"checkpoint": "random", "family": "ltx", "sizes": "tiny", "steps": 2, **SMALL}


def test_a_file_may_hold_a_prompt_for_each_clip(tmp_path: Path) -> None:
    width = open_method("flowframes", RANDOM).pipeline.backbone.empty_prompt()[0].shape[-1]
    one, other, negative = (torch.randn(1, 4, width, generator=torch.Generator().manual_seed(n)) for n in range(3))
    save_file({"street.mp4/embeds": one, "wood.mp4/embeds": other}, tmp_path / "clips.safetensors")
    for name, embeds in (("one", one), ("negative", negative)):
        save_file({"embeds": embeds}, tmp_path / f"{name}.safetensors")
    against = {"negative_prompt": str(tmp_path / "negative.safetensors")}
    alone = open_method("flowframes", RANDOM | against | {"prompt": str(tmp_path / "one.safetensors")})
    method = open_method("flowframes", RANDOM | against | {"prompts": str(tmp_path / "clips.safetensors")})
    found = {}
    for method.clip_name in ("street.mp4", "wood.mp4", "unknown.mp4"):
        found[method.clip_name] = method.run(clips(1), SeededNoise([0]))
    assert torch.equal(found["street.mp4"], alone.run(clips(1), SeededNoise([0])))
    assert len({tuple(one.flatten()[:50].tolist()) for one in found.values()}) == 3
    (tmp_path / "texts.json").write_text('{"street.mp4": "a street"}')
    with pytest.raises(InputError, match="texts.json: texts need a text encoder; give embeddings in .safetensors"):
        open_method("flowframes", RANDOM | {"prompts": str(tmp_path / "texts.json")})


def test_conventions_and_single_choices_are_said_with_the_row() -> None:
    published = open_method("flowframes", RANDOM | {"conventions": "published", "guidance": 1.0})
    assert (published.spec.conventions, published.spec.frame_rate) == ("published", 25.0)
    published.clip_rate = 12.0
    forced = open_method("flowframes", RANDOM | {"conventions": "published", "guidance": 1.0, "fixed_rate": 12.0})
    assert forced.spec.frame_rate == 12.0
    paper = open_method("flowframes", RANDOM | {"guidance": 1.0})
    assert (paper.spec.conventions, paper.spec.frame_rate) == ("paper", 12.0)
    found = [one.run(clips(1), SeededNoise([0])) for one in (published, forced, paper)]
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])
