"""One opener for every verb: what people have on disk opens, or is refused in a sentence that names file and remedy."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.checkpoints import shipped
from worldmodel.errors import InputError
from worldmodel.models.checkpoint import checkpoint_hashes, place_of
from worldmodel.models.families import WAN
from worldmodel.models.noise_conditioned import NoiseConditionedPipeline
from worldmodel.models.open import open_backbone, open_pipeline
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training.config import DataConfig, TrainConfig
from worldmodel.training.start import starting_pipeline

WEIGHTS = "diffusion_pytorch_model.safetensors"
VIDEO = torch.rand(1, 9, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def model(seed: int = 0) -> FlowFramesPipeline:
    torch.manual_seed(seed)
    vae = tiny_vae(base_channels=8, latent_channels=8)
    return FlowFramesPipeline.from_backbone(
        tiny_backbone(vae, tiny_transformer(8, layers=1, heads=2, head_dim=16, caption_channels=16))
    )


def predicted(pipeline: FlowFramesPipeline) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(VIDEO, num_inference_steps=1).frames


@pytest.fixture
def base(tmp_path: Path) -> Path:
    model().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def trained(tmp_path: Path) -> Path:
    """A transformer alone, as FlowC2S saves its checkpoints."""
    model(5).transformer.save_pretrained(tmp_path / "checkpoint-38" / "transformer")
    return tmp_path / "checkpoint-38"


def test_a_base_with_a_transformer_of_its_own_opens_for_every_verb(base: Path, tmp_path: Path) -> None:
    folder, mixed = trained(tmp_path), model()
    mixed.register_modules(transformer=model(5).transformer)
    expected = predicted(mixed)
    assert not torch.equal(expected, predicted(open_pipeline(base, device="cpu")))
    for place in (folder, folder / "transformer"):
        assert torch.equal(predicted(open_pipeline(base, str(place), device="cpu")), expected)
    config = TrainConfig(DataConfig("unused"), pretrained=str(base), transformer=str(folder))
    assert torch.equal(predicted(starting_pipeline(config)), expected)
    bare = tmp_path / "bare"  # a folder without model_index.json
    for part in ("vae", "transformer"):
        shutil.copytree(base / part, bare / part)
    assert torch.equal(predicted(open_pipeline(bare, str(folder), device="cpu")), expected)
    assert set(checkpoint_hashes(str(base), str(folder))) == {"checkpoint_sha256", "transformer_sha256"}


def test_a_transformer_that_does_not_belong_is_refused(base: Path, tmp_path: Path) -> None:
    wan = tmp_path / "wan"
    WAN.random_backbone("tiny").transformer.save_pretrained(wan)
    with pytest.raises(InputError, match="wan: is a WanTransformer3DModel, its base takes LTXVideoTransformer3DModel"):
        open_pipeline(base, str(wan), device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="transformer=.*empty: no config.json in it; give the folder"):
        open_pipeline(base, str(tmp_path / "empty"), device="cpu")


def test_the_conventional_design_opens_as_what_it_is() -> None:
    for opened in (
        open_pipeline("tiny_noise_conditioned", device="cpu"),
        starting_pipeline(TrainConfig(DataConfig("unused"), pretrained="tiny_noise_conditioned")),
    ):
        assert isinstance(opened, NoiseConditionedPipeline)
    with pytest.raises(InputError, match="is noise-conditioned: .* methods.noise_conditioned"):
        FlowFramesPipeline.from_pretrained(shipped("tiny_noise_conditioned"))


@pytest.mark.parametrize("wrap", ["_orig_mod.{}", "module.{}", "module._orig_mod.{}"])
def test_what_wrappers_add_to_names_is_left_out_and_said(base: Path, wrap: str, caplog) -> None:
    expected = predicted(open_pipeline(base, device="cpu"))
    path = base / "transformer" / WEIGHTS
    save_file({wrap.format(name): value for name, value in load_file(path).items()}, path)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(predicted(open_pipeline(base, device="cpu")), expected)
    assert "without what a wrapper or compiler added" in caplog.text and len(caplog.text) < 600


def test_a_wrapped_block_within_the_model_is_read_too(base: Path) -> None:
    expected = predicted(open_pipeline(base, device="cpu"))
    path = base / "transformer" / WEIGHTS
    block = "transformer_blocks.0."
    save_file({name.replace(block, f"{block}_orig_mod."): value for name, value in load_file(path).items()}, path)
    assert torch.equal(predicted(open_pipeline(base, device="cpu")), expected)


def test_a_lone_variant_is_read_and_said(base: Path, caplog) -> None:
    for part in ("vae", "transformer"):
        path = base / part / WEIGHTS
        save_file({name: value.half() for name, value in load_file(path).items()}, path)
        path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with caplog.at_level(logging.WARNING):
        assert predicted(open_pipeline(base, device="cpu")).isfinite().all()
    assert "reads the variant fp16, the only weights in it" in caplog.text
    other = base / "vae" / "diffusion_pytorch_model.fp16.safetensors"
    shutil.copy(other, other.with_name("diffusion_pytorch_model.bf16.safetensors"))
    with pytest.raises(InputError, match=r"vae: weights in 2 variants \(bf16, fp16\); keep one of them"):
        open_pipeline(base, device="cpu")


def test_a_folder_without_weights_says_which(base: Path) -> None:
    (base / "transformer" / WEIGHTS).unlink()
    with pytest.raises(InputError, match=f"transformer: no {WEIGHTS} in it"):
        open_pipeline(base, device="cpu")


@pytest.mark.parametrize("part", ["transformer", "vae"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(base: Path, part: str, bad: float) -> None:
    path = base / part / WEIGHTS
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name].view(-1)[0] = bad
    save_file(weights, path)
    with pytest.raises(InputError, match=f"{part}/{WEIGHTS}: key {name} holds NaN or infinity"):
        open_pipeline(base, device="cpu")


def test_a_prediction_that_is_not_finite_is_refused() -> None:
    pipeline = model()
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        pipeline.transformer.proj_out.bias.fill_(float("nan"))
    with pytest.raises(InputError, match="the network's prediction is not finite"):
        pipeline(VIDEO, num_inference_steps=1)


def test_a_path_with_a_slip_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    with pytest.raises(InputError, match="outputs/pipelin: no such folder and none of the shipped checkpoints: tiny"):
        place_of("outputs/pipelin")
    assert place_of("owner/model") is None


def test_an_option_that_no_conventions_decide_is_refused(base: Path) -> None:
    with pytest.raises(InputError, match="decode_time: conventions decide no such option; use decode_timestep, "):
        open_pipeline(base, device="cpu", decode_time=0.1)


def test_random_weights_are_a_checkpoint_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline, again = (open_pipeline("random wan tiny", device="cpu") for _ in range(2))
    assert pipeline.conventions.name == "paper" and pipeline.family is WAN
    assert torch.equal(predicted(pipeline), predicted(again))
    assert place_of("random") is None and checkpoint_hashes("random wan tiny", None) == {"checkpoint_sha256": None}
    assert open_backbone("random ltx tiny", dtype=torch.bfloat16).transformer.dtype == torch.bfloat16
