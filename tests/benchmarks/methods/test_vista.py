"""Vista as a method at tiny random weights: its modes, what a prediction depends on, and the parts of its sampler."""

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from worldmodel.benchmarks.methods import vista_networks, vista_vae
from worldmodel.benchmarks.methods.edm import Guidance, denoised, edm_sigmas, euler, triangle
from worldmodel.benchmarks.methods.method import SeededNoise
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.methods.vista import Vista, VistaOptions, load_vista
from worldmodel.benchmarks.methods.vista_conditioning import blurred_resize
from worldmodel.errors import InputError

TINY = {"weights": "random", "sizes": "tiny", "size": [64, 64], "device": "cpu"}


def tiny(**options: object) -> Vista:
    vista = open_method("vista", TINY | options)
    assert isinstance(vista, Vista)
    return vista


def clips(number: int = 1, frames: int = 17) -> Tensor:
    return torch.rand(number, frames, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def changed(observed: Tensor, frame: int) -> Tensor:
    observed = observed.clone()
    observed[:, frame] = -observed[:, frame]
    return observed


def test_defaults_are_the_papers_row() -> None:
    spec = Vista(VistaOptions(), tiny()._networks).spec
    assert (spec.size, spec.observed_frames, spec.future_frames) == ((576, 1024), 17, 17)
    assert (spec.steps, spec.guidance, spec.nfe) == (50, 2.5, 50)
    assert spec.canvas == "34x72x128 latents, 17 given (all observed), 1 round(s), frames 17-33 kept"
    assert any("at most 3" in remark for remark in spec.remarks)


def test_fifty_evaluations() -> None:
    vista = tiny(guidance=1.0)
    vista.run(clips(), SeededNoise([0]))
    assert (vista.evaluations.guided_evals, vista.evaluations.forward_batch) == (50, 1)


# options, new frames, evaluations with two steps, an observed frame that matters and one that does not
MODES = {
    "paper": ({}, 17, 2, 16, None),
    "upstream": ({"given": 1}, 17, 2, 0, 16),
    "trained": ({"given": 3}, 17, 2, 14, 13),
    "rounds": ({"given": 3, "canvas": 8, "rounds": 3, "future_frames": 14}, 14, 6, 14, 13),
    "short": ({"observed_frames": 5, "future_frames": 4, "given": 5}, 4, 2, 0, None),
}


@pytest.mark.parametrize("mode", MODES)
def test_whole_flow(mode: str) -> None:
    options, frames, nfe, matters, unseen = MODES[mode]
    vista = tiny(steps=2, **options)
    observed = clips(frames=vista.spec.observed_frames)
    future = vista.run(observed, SeededNoise([0]))
    assert future.shape == (1, frames, 3, 64, 64)
    assert future.abs().max() <= 1 and future.std() > 0.01
    assert vista.evaluations.guided_evals == vista.evaluations.forward_calls == vista.spec.nfe == nfe
    assert vista.evaluations.forward_batch == 2
    assert not torch.allclose(vista.run(changed(observed, matters), SeededNoise([0])), future, atol=1e-4)
    if unseen is not None:
        assert torch.equal(vista.run(changed(observed, unseen), SeededNoise([0])), future)


@torch.no_grad()
def test_a_clip_does_not_depend_on_its_batch_but_on_its_noise() -> None:
    vista, observed = tiny(steps=2, given=3, canvas=8, future_frames=5), clips(2)
    together = vista.predict(observed, SeededNoise([5, 6]))
    alone = vista.predict(observed[1:], SeededNoise([6]))
    # Two steps from noise of 700 lose four digits; other noise is far away.
    assert float((together[1] - alone[0]).abs().max()) < 1e-3
    assert float((vista.predict(observed[1:], SeededNoise([7])) - alone).abs().max()) > 1e-1


def test_half_precision_stays_near() -> None:
    options, observed = {"steps": 2, "observed_frames": 3, "future_frames": 2, "given": 1}, clips(frames=3)
    full, half = (tiny(**options, dtype=dtype).run(observed, SeededNoise([0])) for dtype in ("float32", "bfloat16"))
    assert full.dtype == half.dtype == torch.float32
    assert 0 < float((full - half).abs().mean()) < 0.3


def test_residual_blocks_have_one_epsilon() -> None:
    # diffusers has 1e-6 in some of them, which shows in the fifth digit only
    blocks = [module for module in tiny().networks["unet"].modules() if hasattr(module, "time_emb_proj")]
    assert len(blocks) == 2 * (4 + 2 + 8)
    assert {norm.eps for block in blocks for norm in (block.norm1, block.norm2)} == {1e-5}


def test_random_weights_are_the_same_each_time() -> None:
    one, other = (tiny().networks["unet"].state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": [60, 100]}, "multiples of 64 are needed; use 64x128"),
        ({"given": 5}, "given=5: use 17"),
        ({"observed_frames": 2, "given": 3}, "given=3"),
        ({"given": 3, "future_frames": 23}, "use more rounds"),
        ({"canvas": 17}, "a canvas of 17 frames give 0 new ones"),
        ({"rounds": 0}, "rounds=0"),
        ({"steps": 1}, "steps=1: use at least 2"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(**options).run(clips(frames=options.get("observed_frames", 17)), SeededNoise([0]))


def test_a_missing_file_says_where_it_is_to_be_had(tmp_path) -> None:
    for place in (tmp_path, tmp_path / "vista.safetensors"):
        with pytest.raises(InputError, match="vista.safetensors: no such file; .*huggingface.co/OpenDriveLab/Vista"):
            load_vista(VistaOptions(weights=str(place)))


def test_sigmas_are_those_of_diffusers() -> None:
    scheduler = EulerDiscreteScheduler(use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0)
    scheduler.set_timesteps(50)
    ours = edm_sigmas(50, 0.002, 700.0)
    assert torch.allclose(ours, scheduler.sigmas, rtol=1e-5, atol=0)
    assert ours[-1] == 0 and len(ours) == 51


def test_a_perfect_network_leads_straight_to_its_data() -> None:
    clean, noise = torch.randn(2, 1, 3, 4, 2, 2).unbind()
    placed, given = torch.full_like(clean, 9.0), torch.tensor([1.0, 0.0, 0.0])

    def perfect(x: Tensor, sigma: Tensor) -> Tensor:
        def network(scaled: Tensor, level: Tensor) -> Tensor:
            assert torch.allclose(level, 0.25 * sigma.log())
            wide = sigma[:, :, None, None, None]
            return (scaled - clean * (wide**2 + 1).sqrt()) / wide

        return denoised(network, x, sigma)

    out = euler(perfect, noise, edm_sigmas(20, 0.002, 80.0), placed, given)
    assert torch.equal(out[:, 0], placed[:, 0])
    assert torch.allclose(out[:, 1:], clean[:, 1:], atol=1e-3)


class Told:
    """A condition that is one number per clip."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def after(self, other: "Told") -> "Told":
        return Told(torch.cat([other.numbers, self.numbers]))


def test_guidance() -> None:
    def network(x: Tensor, sigma: Tensor, told: Told) -> Tensor:
        return x * 0 + told.numbers[:, None, None, None, None]

    x, sigma = torch.zeros(2, 5, 1, 1, 1), torch.ones(2, 5)
    condition, unconditional = Told(torch.tensor([3.0, 5.0])), Told(torch.tensor([1.0, 1.0]))
    for scale, expected in ((2.5, [6.0, 11.0]), (1.0, [3.0, 5.0])):
        guidance = Guidance(scale)
        out = guidance(network, x, sigma, condition, unconditional)
        assert out[:, 0].flatten().tolist() == expected
        assert guidance.evaluations.forward_batch == (2 if scale == 1.0 else 4)
        assert guidance.evaluations.guided_evals == 1
    by_frame = Guidance(triangle(5, 1.0, 2.5))(network, x, sigma, condition, unconditional)
    assert by_frame[0].flatten().tolist() == [3.0, 4.5, 6.0, 4.5, 3.0]


@torch.no_grad()
@pytest.mark.parametrize("frames", [14, 15, 34])
def test_decoding_in_windows(frames: int) -> None:
    vae = tiny().networks["vae"]
    latents = torch.randn(2, frames, 4, 2, 2, generator=torch.Generator().manual_seed(frames))
    total, counts = torch.zeros(2, frames, 3, 16, 16), torch.zeros(frames)
    for start in {14: (0,), 15: (0, 11), 34: (0, 11, 22)}[frames]:
        window = latents[:, start : start + 14] / 0.18215
        for clip in range(2):
            total[clip, start : start + 14] += vae.decode(window[clip], window.shape[1]).sample
        counts[start : start + 14] += 1
    assert torch.allclose(vista_vae.decode(vae, latents), total / counts.view(1, -1, 1, 1, 1), atol=1e-5)


@pytest.mark.parametrize("size", [(100, 180), (64, 64), (33, 470)])
def test_the_resize_before_the_image_encoder_is_diffusers_copy_of_kornia(size: tuple[int, int]) -> None:
    from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as pipeline

    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = pipeline._resize_with_antialiasing(image, (32, 32))
    assert float((blurred_resize(image, 32) - expected).abs().max()) < 1e-5


def test_every_drawn_weight_lies_on_the_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers makes its mixing factors on the CPU; seen on a GPU, where the first prediction ended."""
    monkeypatch.setattr(vista_networks, "chosen_device", lambda _: torch.device("meta"))
    options = VistaOptions(weights="random", sizes="tiny", device="cuda")
    for network in vista_networks.draw_networks(options, clip=True).by_name().values():
        assert {one.device.type for one in (*network.parameters(), *network.buffers())} == {"meta"}
