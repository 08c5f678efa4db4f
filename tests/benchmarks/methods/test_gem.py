"""GEM: sampler and network as the published code computes them, and the whole flow at tiny random weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_numbers import Golden
from safetensors.torch import load_file, save_file
from torch import Tensor
from vista_files import reference_weights, write_config

from worldmodel.benchmarks.methods.edm import edm_sigmas
from worldmodel.benchmarks.methods.gem import UNUSED_IN_UNET, Gem, GemOptions
from worldmodel.benchmarks.methods.gem_sampler import Pyramid, pyramid_euler
from worldmodel.benchmarks.methods.method import GivenNoise, SeededNoise
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.methods.vista_weights import VistaWeights, load_unet
from worldmodel.errors import InputError

TOLERANCE = 1e-4
TINY = {"weights": "random", "sizes": "tiny", "size": [64, 64], "device": "cpu"}

FindGolden = Callable[[str], list[Golden]]


def tiny(**options: object) -> Gem:
    gem = open_method("gem", TINY | options)
    assert isinstance(gem, Gem)
    return gem


def clips(frames: int = 17) -> Tensor:
    return torch.rand(1, frames, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def toy(x: Tensor, sigma: Tensor, seen: slice) -> Tensor:
    return torch.tanh(x / (1 + sigma[:, :, None, None, None]))


def test_sampler(golden: FindGolden) -> None:
    for case in golden("gem_sampler"):
        spec, known, calls = case.spec, case.tensors, []

        def counted(x: Tensor, sigma: Tensor, seen: slice, calls: list = calls) -> Tensor:
            calls.append(seen)
            return toy(x, sigma, seen)

        pyramid = Pyramid(spec["frames"], spec["steps"], spec["window"])
        given = (torch.arange(spec["frames"]) < spec["given"]).float()
        out = pyramid_euler(counted, known["noise"][None], pyramid, known["given_latents"][None], given)[0]
        assert float((out - known["out"]).abs().max()) < TOLERANCE
        assert out.std() > 0.1
        assert len(calls) == pyramid.nfe == spec["nfe"]


def test_evaluations_by_frames(golden: FindGolden) -> None:
    for case in golden("gem_sampler"):
        for frames, nfe in case.spec["nfe_by_frames_without_given"].items():
            calls: list[slice] = []

            def counted(x: Tensor, sigma: Tensor, seen: slice, calls: list = calls) -> Tensor:
                calls.append(seen)
                return toy(x, sigma, seen)

            noise = torch.randn(1, int(frames), 1, 1, 1)
            pyramid_euler(counted, noise, Pyramid(int(frames)), noise, torch.zeros(int(frames)))
            assert len(calls) == nfe


def test_every_frame_passes_all_noise_levels_in_order() -> None:
    levels: list[list[float]] = [[] for _ in range(34)]
    left: list[float] = []

    def watched(x: Tensor, sigma: Tensor, seen: slice) -> Tensor:
        assert seen.stop - seen.start == x.shape[1] == 25
        assert (sigma[0].diff() >= 0).all()  # later frames are noisier
        for frame, level in zip(range(seen.start, seen.stop), sigma[0].tolist(), strict=True):
            levels[frame].append(level)
        return toy(x, sigma, seen)

    noise = torch.randn(1, 34, 1, 1, 1)
    out = pyramid_euler(
        watched, noise, Pyramid(34), noise, torch.zeros(34), lambda latents: left.append(float(latents))
    )
    expected = (edm_sigmas(50, 0.002, 150.0) + 0.002).tolist()
    for passed in levels:
        distinct = sorted(set(passed), reverse=True)
        assert passed == sorted(passed, reverse=True)
        assert distinct in (expected, expected[:-1])  # the last level is seen by frames that stay in the window
    assert left == out[0, :9].flatten().tolist()


def write_gem(unet: Golden, vae: Golden, folder: Path) -> Path:
    """A whole file as GEM publishes it, with parts that are not used here."""
    weights = unet.weights() | vae.weights() | reference_weights(vae)
    unused = ("model.diffusion_model.dino_cnn.any.weight", "conditioner.embedders.5.model.cls_token")
    weights |= {name: torch.zeros(2) for name in (*unused, "conditioner.embedders.7.net.0.weight")}
    save_file(weights, folder / "gem.safetensors")
    return folder / "gem.safetensors"


@pytest.fixture(scope="module")
def gem_file(golden: FindGolden, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options of a whole published file with the golden networks."""
    sizes, unet, vae = golden("vista_unet")[0], golden("gem_unet")[0], golden("vista_vae")[0]
    folder = tmp_path_factory.mktemp("gem")
    return {"weights": str(write_gem(unet, vae, folder)), "config": str(write_config(sizes, vae, folder))}


@torch.no_grad()
def test_unet(golden: FindGolden, gem_file: dict[str, str]) -> None:
    config = golden("vista_unet")[0].config
    for case in golden("gem_unet"):
        known = case.tensors
        unet = load_unet(VistaWeights(Path(gem_file["weights"])), config, unused=UNUSED_IN_UNET)
        sample, level, given = (known[name][None] for name in ("sample", "c_noise", "given_mask"))
        context = torch.zeros(1, sample.shape[1], 1, config["context_dim"])
        out = unet(sample, level, context, torch.tensor([[9.0, 127.0, 0.0]]), given)[0]
        assert float((out - known["out"]).abs().max()) < TOLERANCE
        assert out.std() > 0.1


def test_a_key_of_no_part_is_named(gem_file: dict[str, str], tmp_path: Path) -> None:
    assert list(tiny(**gem_file).networks) == ["unet", "vae", "reference_encoder"]
    weights = load_file(gem_file["weights"])
    for key in ("conditioner.embedders.6.weight", "model.diffusion_model.depth_out.weight"):
        save_file(weights | {key: torch.zeros(1)}, tmp_path / "gem.safetensors")
        with pytest.raises(InputError, match=f"{key} is not part of this model"):
            tiny(**gem_file | {"weights": str(tmp_path)})


def test_defaults_are_the_papers_row() -> None:
    spec = Gem(GemOptions(), tiny()._networks).spec
    assert (spec.size, spec.observed_frames, spec.future_frames) == ((576, 576), 17, 17)
    assert (spec.steps, spec.guidance, spec.nfe) == (50, 1.5, 117)
    assert spec.canvas == "34x72x72 latents in windows of 25, 17 given, frames 17-33 kept"
    assert "Re-implemented conditioning" in spec.remarks[0]


def test_a_hundred_and_seventeen_evaluations() -> None:
    gem = tiny(guidance=1.0)
    future = gem.run(clips(), SeededNoise([0]))
    assert (gem.evaluations.guided_evals, gem.evaluations.forward_batch) == (117, 1)
    assert future.shape == (1, 17, 3, 64, 64)
    assert future.abs().max() <= 1 and future.std() > 0.01


@pytest.mark.parametrize("given", [3, 0])
def test_what_a_prediction_depends_on(given: int) -> None:
    gem = tiny(given=given, observed_frames=4, future_frames=2, steps=3)
    observed = clips(4)
    future = gem.run(observed, SeededNoise([0]))
    assert (gem.evaluations.guided_evals, gem.evaluations.forward_batch) == (3, 2)
    for frame in (max(given, 1) - 1, max(given, 1)):
        other = observed.clone()
        other[:, frame] = -other[:, frame]
        same = torch.allclose(gem.run(other, SeededNoise([0])), future, atol=1e-5)
        assert same == (frame == max(given, 1))
    assert not torch.allclose(gem.run(observed, SeededNoise([1])), future, atol=1e-2)


def test_the_dino_branch_adds_a_constant(tmp_path: Path) -> None:
    options = {"observed_frames": 2, "future_frames": 1, "given": 2, "steps": 3}
    noise = {"latents": [torch.zeros(1, 3, 4, 8, 8)], "posterior": [torch.zeros(1, 2, 4, 8, 8)]}
    without, stand_in = tiny(**options), tiny(**options, dino="random")
    assert "dino_cnn" in stand_in.networks and "dino_cnn" not in without.networks
    path = tmp_path / "dino.safetensors"
    names = {"input_blocks.3": 0, "input_blocks.6": 1}
    save_file({name: stand_in._residuals[at][0].contiguous() for name, at in names.items()}, path)
    future, with_branch, from_file = (
        gem.run(clips(2), GivenNoise(noise)) for gem in (without, stand_in, tiny(**options, dino=str(path)))
    )
    assert not torch.allclose(future, with_branch, atol=1e-4)
    assert torch.equal(with_branch, from_file)
    with pytest.raises(InputError, match=r"input_blocks.3 has shape \[32, 4, 4\], \[32, 8, 4\] expected"):
        tiny(**options, dino=str(path), size=[128, 64])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": [64, 96]}, "multiples of 64"),
        ({"given": 18}, "use 0 to 17"),
        ({"steps": 20}, "steps=20: the pyramid of 25 frames"),
        ({"weights": "absent.safetensors"}, "absent.safetensors: no such file; .*huggingface.co/mariam-hassan/GEM"),
        ({"dino": "absent.safetensors"}, "absent.safetensors: no such file"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(**options)
