"""Loading is strict, and bad input is named in one line."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldmodel.backbones.ltx import official as ltx_official
from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.wan import official as wan_official
from worldmodel.backbones.wan.backbone import WanBackbone
from worldmodel.errors import InputError
from worldmodel.models.open import open_backbone

Write = Callable[..., Path]
TRANSFORMER_KEY = "model.diffusion_model.transformer_blocks.1.attn2.q_norm.weight"
VAE_KEY = "vae.decoder.up_blocks.3.conv.conv.weight"


def refuses(source: object, *words: str, **options: object) -> None:
    """Loading raises one line that holds all the words."""
    with pytest.raises(InputError) as caught:
        open_backbone(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def same_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    ours_state, theirs_state = ours.state_dict(), theirs.state_dict()
    return ours_state.keys() == theirs_state.keys() and all(
        torch.equal(ours_state[name], theirs_state[name]) for name in theirs_state
    )


def same_config(ours, theirs) -> None:
    names = {name for name in ours.config if not name.startswith("_")}
    listed = [(name, ours.config[name], theirs.config[name]) for name in names]
    assert [item for item in listed if json.dumps(item[1]) != json.dumps(item[2])] == []


def test_ltx_single_file(write_ltx: Write, ltx_tensors: dict[str, Tensor], ltx_modules) -> None:
    vae, transformer = ltx_modules
    backbone = open_backbone(write_ltx(ltx_tensors), decode_noise_scale=0.0)
    assert isinstance(backbone, LTXBackbone) and backbone.decode_noise_scale == 0.0
    assert same_weights(backbone.vae, vae) and same_weights(backbone.transformer, transformer)
    same_config(backbone.transformer, transformer)
    assert not backbone.vae.training and not backbone.transformer.training
    assert backbone.geometry == LTXBackbone(vae, transformer).geometry


def test_wan_folder(wan_folder: Path, wan_config: dict, wan_modules) -> None:
    backbone = open_backbone(wan_folder, config=wan_config)
    assert isinstance(backbone, WanBackbone)
    assert same_weights(backbone.vae, wan_modules[0]) and same_weights(backbone.transformer, wan_modules[1])
    same_config(backbone.transformer, wan_modules[1])
    same_config(backbone.vae, wan_modules[0])
    assert backbone.geometry == WanBackbone(*wan_modules).geometry


def test_wan_transformer_reads_the_config_beside_it_and_a_prefix(wan_folder: Path, wan_modules) -> None:
    path = wan_folder / "diffusion_pytorch_model.safetensors"
    assert same_weights(wan_official.load_transformer(path), wan_modules[1])
    prefixed = {f"model.diffusion_model.{name}": value for name, value in load_file(path).items()}
    save_file(prefixed, path)
    assert same_weights(wan_official.load_transformer(path), wan_modules[1])


def test_wan_paths_given_one_by_one(wan_folder: Path, wan_config: dict, tmp_path: Path, wan_modules) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    vae = (wan_folder / "Wan2.1_VAE.pth").rename(elsewhere / "vae.pth")
    settings = tmp_path / "wan.json"
    settings.write_text(json.dumps(wan_config))
    transformer = wan_folder / "diffusion_pytorch_model.safetensors"
    assert same_weights(open_backbone(transformer, vae=vae, config=settings).vae, wan_modules[0])
    refuses(transformer, "Wan2.1_VAE.pth", "no such file", config=settings)


@pytest.mark.parametrize("shard_size", ["10GB", "20KB"])
@pytest.mark.parametrize("kind", ["ltx", "wan"])
def test_diffusers_folder(kind: str, shard_size: str, request, tmp_path: Path) -> None:
    vae, transformer = request.getfixturevalue(f"{kind}_modules")
    folder = tmp_path / "diffusers"
    vae.save_pretrained(folder / "vae", max_shard_size=shard_size)
    transformer.save_pretrained(folder / "transformer", max_shard_size=shard_size)
    sharded = len(list(folder.glob("transformer/*.safetensors"))) > 1
    assert sharded == (shard_size == "20KB")
    backbone = open_backbone(str(folder))
    assert same_weights(backbone.vae, vae) and same_weights(backbone.transformer, transformer)
    same_config(backbone.vae, vae)


def test_diffusers_folder_is_strict(ltx_modules, tmp_path: Path) -> None:
    for name, module in zip(("vae", "transformer"), ltx_modules, strict=True):
        module.save_pretrained(tmp_path / name)
    file = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({name: value for name, value in tensors.items() if name != "proj_in.bias"}, file)
    refuses(tmp_path, str(file), "key proj_in.bias is missing (1 missing")
    save_file(tensors, file)
    (tmp_path / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKLWan"}))
    refuses(tmp_path, "config.json", "is a AutoencoderKLWan", "AutoencoderKLLTXVideo expected")
    (tmp_path / "transformer" / "config.json").write_text("{")
    refuses(tmp_path, "config.json", "not a readable JSON file")
    (tmp_path / "transformer" / "config.json").write_text(json.dumps({"_class_name": "FluxTransformer2DModel"}))
    refuses(tmp_path, "FluxTransformer2DModel is not a known transformer")


@pytest.mark.parametrize("key", [TRANSFORMER_KEY, VAE_KEY, "vae.per_channel_statistics.std-of-means"])
def test_a_missing_key_is_named_as_in_the_file(key: str, write_ltx: Write, ltx_tensors: dict[str, Tensor]) -> None:
    del ltx_tensors[key]
    refuses(write_ltx(ltx_tensors), "ltx.safetensors", f"key {key} is missing", "download the complete file")


@pytest.mark.parametrize("key", ["model.diffusion_model.extra.weight", "vae.encoder.extra", "text_encoder.weight"])
def test_an_extra_key_is_named(key: str, write_ltx: Write, ltx_tensors: dict[str, Tensor]) -> None:
    refuses(write_ltx(ltx_tensors | {key: torch.zeros(2)}), f"key {key} is not part of")


@pytest.mark.parametrize("key", [TRANSFORMER_KEY, VAE_KEY])
def test_a_misshapen_key_is_named_with_both_shapes(key: str, write_ltx: Write, ltx_tensors: dict[str, Tensor]) -> None:
    expected = list(ltx_tensors[key].shape)
    ltx_tensors[key] = torch.zeros(3, 5)
    refuses(write_ltx(ltx_tensors), f"key {key} has shape [3, 5], {expected} expected")


def test_wan_keys_are_strict_too(wan_folder: Path, wan_config: dict) -> None:
    vae = torch.load(wan_folder / "Wan2.1_VAE.pth", weights_only=True)
    file = wan_folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    key = "blocks.1.cross_attn.norm_k.weight"
    save_file({name: value for name, value in tensors.items() if name != key}, file)
    refuses(wan_folder, f"key {key} is missing", config=wan_config)
    save_file(tensors | {"blocks.0.cross_attn.k_img.weight": torch.zeros(2, 2)}, file)
    refuses(wan_folder, "key blocks.0.cross_attn.k_img.weight is not part", config=wan_config)
    save_file(tensors, file)
    torch.save(vae | {"decoder.upsamples.7.time_conv.bias": torch.zeros(1)}, wan_folder / "Wan2.1_VAE.pth")
    refuses(wan_folder, "key decoder.upsamples.7.time_conv.bias has shape [1]", config=wan_config)


def test_integer_and_float8_weights_are_refused(write_ltx: Write, ltx_tensors: dict[str, Tensor]) -> None:
    ltx_tensors[TRANSFORMER_KEY] = ltx_tensors[TRANSFORMER_KEY].to(torch.float8_e4m3fn)
    refuses(write_ltx(ltx_tensors), TRANSFORMER_KEY, "float8_e4m3fn", "use the float32, float16 or bfloat16 file")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>Access denied</html>", "a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"", "an empty file"),
        (b"\x07\x00\x00\x00\x00\x00\x00\x00garbage" * 20, "not a readable"),
        (b"PK\x03\x04" + bytes(200), "not a readable"),
    ],
)
def test_what_is_no_weight_file(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    refuses(path, str(path), words)


def test_truncated_files(write_ltx: Write, ltx_tensors: dict[str, Tensor], wan_folder: Path, wan_config: dict) -> None:
    path = write_ltx(ltx_tensors)
    path.write_bytes(path.read_bytes()[:-1000])
    refuses(path, str(path), "not a readable safetensors file", "download it again")
    vae = wan_folder / "Wan2.1_VAE.pth"
    vae.write_bytes(vae.read_bytes()[: vae.stat().st_size // 2])
    refuses(wan_folder, str(vae), "not a readable weights-only .pth file", config=wan_config)


def test_a_pickle_that_runs_code_is_refused(wan_folder: Path, wan_config: dict) -> None:
    trace = wan_folder / "ran"

    class Payload:
        def __reduce__(self) -> tuple:
            return (Path.touch, (trace,))

    torch.save({"encoder.conv1.weight": Payload()}, wan_folder / "Wan2.1_VAE.pth")
    refuses(wan_folder, "Wan2.1_VAE.pth", "not a readable weights-only .pth file", config=wan_config)
    assert not trace.exists()


def test_a_nested_checkpoint_is_refused(wan_folder: Path, wan_config: dict) -> None:
    torch.save({"model": {"weight": torch.zeros(2)}}, wan_folder / "Wan2.1_VAE.pth")
    refuses(wan_folder, "not a flat table of tensors", config=wan_config)


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    refuses(tmp_path / "none.safetensors", "none.safetensors", "no such file or folder", "hub id")
    refuses(tmp_path, "neither a diffusers folder", "name the LTX-Video .safetensors file itself")
    refuses(
        "Lightricks/LTX-Video-0.9.5", "Lightricks/LTX-Video-0.9.5", "pass the downloaded folder"
    )  # tests are offline


def test_family(write_ltx: Write, ltx_tensors: dict[str, Tensor]) -> None:
    path = write_ltx(ltx_tensors)
    assert open_backbone(path, family="ltx").name == "ltx"
    refuses(path, "holds ltx, not wan", family="wan")
    refuses(path, "family=cosmos", "ltx or wan", family="cosmos")
    save_file({"unet.weight": torch.zeros(1)}, path)
    refuses(path, "neither LTX-Video's keys", "nor Wan 2.1's")


@pytest.mark.parametrize(
    ("part", "entry", "value", "words"),
    [
        ("transformer", "causal_temporal_positioning", False, "causal_temporal_positioning is not true"),
        ("transformer", "causal_temporal_positioning", None, "causal_temporal_positioning is not true"),
        ("transformer", "qk_norm", "layer_norm", "transformer.qk_norm is 'layer_norm': only 'rms_norm'"),
        ("transformer", "positional_embedding_max_pos", [10, 2048, 2048], "positional_embedding_max_pos"),
        ("transformer", "num_layers", None, "config transformer.num_layers is missing"),
        ("transformer", "num_layers", 3, "is missing"),
        ("transformer", "num_layers", "two", "no LTXVideoTransformer3DModel has this configuration"),
        ("transformer", "num_attention_heads", -2, "no LTXVideoTransformer3DModel has this configuration"),
        ("vae", "patch_size", "four", "no AutoencoderKLLTXVideo has this configuration"),
        ("vae", "decoder_blocks", [["res_x", {}]], "no AutoencoderKLLTXVideo has this configuration"),
        ("vae", "spatial_padding_mode", "reflect", "vae.spatial_padding_mode is 'reflect'"),
        ("vae", "latent_log_var", "per_channel", "vae.latent_log_var is 'per_channel'"),
        ("vae", "encoder_base_channels", 16, "has shape"),
        ("vae", "encoder_blocks", [["res_x", {"num_layers": 1}], ["res_x_y", {}]], "encoder_blocks[1] is 'res_x_y'"),
        ("vae", "decoder_blocks", [["res_x", 1], ["compress_all", {}]], "decoder_blocks ends in 'compress_all'"),
    ],
)
def test_a_config_that_does_not_fit(
    part: str, entry: str, value: object, words: str, write_ltx: Write, ltx_tensors: dict[str, Tensor], ltx_config: dict
) -> None:
    ltx_config[part][entry] = value
    if value is None:
        del ltx_config[part][entry]
    refuses(write_ltx(ltx_tensors, ltx_config), "ltx.safetensors", words)


def test_a_config_without_the_part(write_ltx: Write, ltx_tensors: dict[str, Tensor], ltx_config: dict) -> None:
    del ltx_config["transformer"]
    refuses(write_ltx(ltx_tensors, ltx_config), "its configuration has no 'transformer'")
    refuses(write_ltx(ltx_tensors, [1, 2]), "its configuration has no 'vae'")
    save_file(ltx_tensors, path := write_ltx(ltx_tensors), metadata={"config": "{"})
    refuses(path, "metadata config is not JSON")


def test_no_config_means_the_published_model(write_ltx: Write, ltx_tensors: dict[str, Tensor], ltx_config) -> None:
    path = write_ltx(ltx_tensors, None)
    refuses(path, "carries no configuration", "as in the published model; give config=")
    assert open_backbone(path, config=ltx_config).geometry.spatial == 16


def test_a_constant_log_variance_warns_and_has_no_spread(
    write_ltx: Write, ltx_tensors: dict[str, Tensor], ltx_config: dict
) -> None:
    frames = torch.rand(1, 3, 5, 32, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uniform = ltx_official.load_vae(write_ltx(ltx_tensors)).encode(frames).latent_dist
    ltx_config["vae"]["latent_log_var"] = "constant"
    with pytest.warns(UserWarning, match="latent_log_var is constant.*target inversion changes nothing"):
        constant = ltx_official.load_vae(write_ltx(ltx_tensors, ltx_config)).encode(frames).latent_dist
    assert torch.equal(constant.mean, uniform.mean) and uniform.std.min() > 0.01
    assert torch.equal(constant.logvar, torch.full_like(constant.logvar, -30.0))


def test_dtype(write_ltx: Write, ltx_tensors: dict[str, Tensor], wan_folder: Path, wan_config: dict) -> None:
    path = write_ltx({name: value.bfloat16() for name, value in ltx_tensors.items()})
    assert ltx_official.load_transformer(path).dtype == torch.bfloat16  # as stored
    backbone = open_backbone(path, dtype=torch.bfloat16, vae_dtype=torch.float32)
    assert {weight.dtype for weight in backbone.transformer.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in backbone.vae.parameters()} == {torch.float32}
    wan = open_backbone(wan_folder, config=wan_config, dtype=torch.bfloat16).transformer
    assert wan.blocks[0].scale_shift_table.dtype == wan.blocks[0].norm2.weight.dtype == torch.float32  # as diffusers
    assert wan.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
