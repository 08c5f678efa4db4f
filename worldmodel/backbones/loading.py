"""Backbones from a hub id, a diffusers folder, or the official files; strictly, or not at all.

Official files: LTX-Video one .safetensors with the transformer under `model.diffusion_model.` and the VAE under `vae.`;
Wan 2.1 `diffusion_pytorch_model.safetensors` with `Wan2.1_VAE.pth` beside it.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, LTXVideoTransformer3DModel, WanTransformer3DModel

from worldmodel.backbones import official_configs as configs
from worldmodel.backbones import official_keys as keys
from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.ltx import LTXBackbone
from worldmodel.backbones.wan import WanBackbone
from worldmodel.backbones.weights import Weights, load_strictly, weight_files
from worldmodel.errors import InputError
from worldmodel.files import expanded

WAN_TRANSFORMER_FILE = "diffusion_pytorch_model.safetensors"
WAN_VAE_FILE = "Wan2.1_VAE.pth"
FAMILIES: dict[str, tuple[Any, Any, Any]] = {
    "ltx": (LTXBackbone, AutoencoderKLLTXVideo, LTXVideoTransformer3DModel),
    "wan": (WanBackbone, AutoencoderKLWan, WanTransformer3DModel),
}
Loaders = tuple[Callable[[], Any], Callable[[], Any]]  # VAE, transformer

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_FILES = ("model_index.json", "config.json", "vae/*", "transformer/*", WAN_TRANSFORMER_FILE, WAN_VAE_FILE)


def load_backbone(
    source: str | Path,
    family: str | None = None,
    dtype: torch.dtype | None = None,
    vae_dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    config: configs.Config | Path | str | None = None,
    vae: Path | None = None,
    transformer: Path | None = None,
    **options: Any,
) -> Backbone:
    """The backbone that `source` holds: a diffusers folder, a folder or file of official weights, or a hub id.

    `family` ("ltx", "wan") is read from the source unless given. `dtype` (None: as stored) is the transformer's,
    `vae_dtype` the VAE's (None: `dtype`). `config` (a dict or a JSON file with `transformer` and `vae`, in the official
    words) replaces the one that official files carry; a file without any must hold the published LTX 2B 0.9.5 or
    Wan 2.1 1.3B. `vae` is the path of `Wan2.1_VAE.pth` where it does not lie beside the transformer. `transformer` is
    a folder with one that was trained alone and takes the place of the source's. `options` go to the backbone's
    constructor.

    Raises `InputError` for a source that cannot be found or read, and for the first missing, extra or misshapen key.
    """
    if family is not None and family not in FAMILIES:
        raise InputError(f"family {family!r}: choose {' or '.join(FAMILIES)}")
    place = expanded(source)
    if not place.exists():
        place = _from_hub(str(source))
    to = {"dtype": dtype, "device": device}
    vae_to = {"dtype": vae_dtype or dtype, "device": device}
    if place.is_dir() and (place / "transformer" / "config.json").is_file():
        found, (load_vae, load_transformer) = _diffusers_folder(place, to, vae_to)
    else:
        found, (load_vae, load_transformer) = _official_files(place, config, vae, to, vae_to)
    if family not in (None, found):
        raise InputError(f"{source}: holds {found}, not {family}; leave family out or give the other source")
    if transformer is not None:
        load_transformer = partial(transformer_of, found, transformer, dtype, device)
    backbone: Backbone = FAMILIES[found][0](load_vae(), load_transformer(), **options)
    return backbone


def load_ltx_transformer(
    path: Path,
    config: configs.Config | Path | str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> LTXVideoTransformer3DModel:
    """The transformer in an official LTX file (keys under `model.diffusion_model.`); arguments as `load_backbone`."""
    weights = _ltx_weights(path)
    size_key = keys.LTX_TRANSFORMER_PREFIX + "patchify_proj.weight"
    part = _part("transformer", weights, config, configs.LTX_2B_095, size_key, (2048, 128))
    module = _empty(LTXVideoTransformer3DModel, configs.ltx_transformer_arguments, part, path)
    load_strictly(module, weights, keys.ltx_transformer_key, keys.LTX_TRANSFORMER_PREFIX, dtype=dtype, device=device)
    return module


def load_ltx_vae(
    path: Path,
    config: configs.Config | Path | str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> AutoencoderKLLTXVideo:
    """The VAE in an official LTX file (keys under `vae.`, 0.9.5 layout); arguments as `load_backbone`.

    A constant log-variance, which upstream puts in place of the encoder's last channel, is written into that
    channel's weights, so that the diffusers class returns the same std.
    """
    weights = _ltx_weights(path)
    size_key = keys.LTX_VAE_PREFIX + "encoder.conv_out.conv.weight"
    part = _part("vae", weights, config, configs.LTX_2B_095, size_key, (129, 2048, 3, 3, 3))
    module = _empty(AutoencoderKLLTXVideo, configs.ltx_vae_arguments, part, path)
    file_key = partial(keys.ltx_vae_key, encoder_blocks=len(module.config.down_block_types))
    unused = keys.LTX_VAE_UNUSED
    load_strictly(module, weights, file_key, keys.LTX_VAE_PREFIX, unused, dtype=dtype, device=device)
    if configs.has_constant_log_variance(part):
        with torch.no_grad():
            module.encoder.conv_out.conv.weight[-1].zero_()
            module.encoder.conv_out.conv.bias[-1] = -30.0
    return module


def load_wan_transformer(
    path: Path,
    config: configs.Config | Path | str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> WanTransformer3DModel:
    """The transformer in an official Wan 2.1 text-to-video file; arguments as `load_backbone`.

    Without `config`, the config.json beside the file counts, else the published 1.3B.
    """
    weights = Weights(path)
    beside = path.with_name("config.json")
    if config is None and beside.is_file():
        config = {"transformer": read_json(beside)}
    prefixed = any(name.startswith(keys.LTX_TRANSFORMER_PREFIX) for name in weights.names)
    prefix = keys.LTX_TRANSFORMER_PREFIX if prefixed else ""
    size_key = prefix + "patch_embedding.weight"
    part = _part("transformer", weights, config, configs.WAN_21_13B, size_key, (1536, 16, 1, 2, 2))
    module = _empty(WanTransformer3DModel, configs.wan_transformer_arguments, part, path)
    load_strictly(module, weights, keys.wan_transformer_key, prefix, dtype=dtype, device=device)
    return module


def load_wan_vae(
    path: Path,
    config: configs.Config | Path | str | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> AutoencoderKLWan:
    """The VAE in `Wan2.1_VAE.pth` (or the same keys as .safetensors); arguments as `load_backbone`."""
    weights = Weights(path)
    part = _part("vae", weights, config, configs.WAN_21_13B, "encoder.conv1.weight", (96, 3, 3, 3, 3))
    module = _empty(AutoencoderKLWan, configs.wan_vae_arguments, part, path)
    file_key = partial(keys.wan_vae_key, res_blocks=module.config.num_res_blocks)
    load_strictly(module, weights, file_key, dtype=dtype, device=device)
    return module


def load_component(
    cls: Any,
    folder: Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Any:
    """One model of a diffusers folder: `config.json` and safetensors weights, sharded or not, loaded strictly."""
    config = read_json(folder / "config.json")
    if config.get("_class_name") != cls.__name__:
        raise InputError(f"{folder / 'config.json'}: is a {config.get('_class_name')}, {cls.__name__} expected")
    try:
        with init_empty_weights(include_buffers=False):
            module = cls.from_config(config)
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise InputError(f"{folder / 'config.json'}: {_no_module(cls, error)}; check its entries") from None
    load_strictly(module, Weights(weight_files(folder)), dtype=dtype, device=device)
    return module.eval()


def transformer_of(
    family: str, folder: Path, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Any:
    """A transformer of this family that was saved alone: `folder` or its `transformer` has config.json and weights.

    Raises `InputError` for a folder without it, a transformer of another family, or weights that do not fit.
    """
    folder = expanded(folder)
    place = folder / "transformer" if (folder / "transformer" / "config.json").is_file() else folder
    if not (place / "config.json").is_file():
        raise InputError(
            f"transformer={folder}: no config.json in it; give the folder that holds config.json and "
            "diffusion_pytorch_model.safetensors"
        )
    cls, name = FAMILIES[family][2], read_json(place / "config.json").get("_class_name")
    if name != cls.__name__:
        raise InputError(f"transformer={folder}: is a {name}, its base takes {cls.__name__}; give one of that family")
    return load_component(cls, place, dtype, device)


def load_networks(folder: Path, given: Collection[str], dtype: torch.dtype) -> dict[str, Any]:
    """VAE and transformer of a diffusers pipeline folder by name, those of known classes that are not `given`.

    diffusers itself would fill what is missing with random numbers and say so in a warning. Raises `InputError` where
    one is not there or does not fit.
    """
    listed, found = read_json(folder / "model_index.json"), {}
    classes = {cls.__name__: cls for _, *pair in FAMILIES.values() for cls in pair}
    for name in sorted({"vae", "transformer"} - set(given)):
        entry = listed.get(name)
        cls = classes.get(entry[1]) if isinstance(entry, list) and len(entry) == 2 else None
        if cls is None:
            continue
        if not (folder / name).is_dir():
            raise InputError(f"{folder}: has no {name}/ in it; save the pipeline again")
        found[name] = load_component(cls, folder / name, dtype)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; `InputError` names the file."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error}); restore it") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: a JSON object is expected; restore it")
    return value


def _diffusers_folder(folder: Path, to: dict[str, Any], vae_to: dict[str, Any]) -> tuple[str, Loaders]:
    name = read_json(folder / "transformer" / "config.json").get("_class_name")
    for family, (_, vae_cls, transformer_cls) in FAMILIES.items():
        if transformer_cls.__name__ == name:
            vae = partial(load_component, vae_cls, folder / "vae", **vae_to)
            transformer = partial(load_component, transformer_cls, folder / "transformer", **to)
            return family, (vae, transformer)
    raise InputError(f"{folder / 'transformer' / 'config.json'}: {name} is not a known transformer; use LTX or Wan 2.1")


def _official_files(
    place: Path,
    config: configs.Config | Path | str | None,
    vae: Path | None,
    to: dict[str, Any],
    vae_to: dict[str, Any],
) -> tuple[str, Loaders]:
    file = place / WAN_TRANSFORMER_FILE if place.is_dir() else place
    if place.is_dir() and not file.is_file():
        raise InputError(
            f"{place}: neither a diffusers folder (vae/, transformer/) nor Wan's ({WAN_TRANSFORMER_FILE}, "
            f"{WAN_VAE_FILE}); name the LTX-Video .safetensors file itself"
        )
    names = Weights(file).names
    if any(name.endswith("patchify_proj.weight") for name in names):
        return "ltx", (partial(load_ltx_vae, file, config, **vae_to), partial(load_ltx_transformer, file, config, **to))
    if any(name.endswith("patch_embedding.weight") for name in names):
        vae_file = vae or file.with_name(WAN_VAE_FILE)
        load_vae = partial(load_wan_vae, vae_file, config, **vae_to)
        return "wan", (load_vae, partial(load_wan_transformer, file, config, **to))
    raise InputError(
        f"{file}: neither LTX-Video's keys (model.diffusion_model.patchify_proj.weight) nor Wan's "
        "(patch_embedding.weight); give an official or diffusers checkpoint"
    )


def _ltx_weights(path: Path) -> Weights:
    """An LTX file, none of whose keys lies outside its two models."""
    weights = Weights(path)
    for name in weights.names:
        if not name.startswith((keys.LTX_TRANSFORMER_PREFIX, keys.LTX_VAE_PREFIX)):
            raise InputError(
                f"{path}: key {name} is not part of LTX-Video (prefixes {keys.LTX_TRANSFORMER_PREFIX} and "
                f"{keys.LTX_VAE_PREFIX}); use the official file"
            )
    return weights


def _part(
    part: str,
    weights: Weights,
    config: configs.Config | Path | str | None,
    published: configs.Config,
    size_key: str,
    size: tuple[int, ...],
) -> configs.Config:
    """The configuration of one part: given, else the file's own, else the published one if `size_key` has its shape."""
    found = read_json(Path(config)) if isinstance(config, (str, Path)) else config
    if found is None and "config" in weights.metadata:
        try:
            found = json.loads(weights.metadata["config"])
        except ValueError:
            raise InputError(f"{weights.path}: metadata config is not JSON; give config= instead") from None
    if found is None:
        if size_key in weights.names and weights.shape(size_key) != size:
            raise InputError(
                f"{weights.path}: carries no configuration and {size_key} is not {list(size)} as in the published "
                "model; give config="
            )
        found = published
    if not isinstance(found, Mapping) or not isinstance(found.get(part), Mapping):
        raise InputError(f"{weights.path}: its configuration has no {part!r}; give config= with it")
    part_config: configs.Config = found[part]
    return part_config


def _empty(
    cls: Any, arguments: Callable[[configs.Config, Path], dict[str, Any]], part: configs.Config, path: Path
) -> Any:
    """The module without memory for its weights; its buffers are real, for no file holds all of them."""
    try:
        with init_empty_weights(include_buffers=False):
            return cls(**arguments(part, path)).eval()
    except InputError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise InputError(f"{path}: {_no_module(cls, error)}; check its entries") from None


def _no_module(cls: Any, error: Exception) -> str:
    return f"no {cls.__name__} has this configuration ({(str(error).splitlines() or [''])[0]})"


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form owner/model."""
    return bool(_HUB_ID.fullmatch(name))


def _from_hub(name: str) -> Path:
    """Download (or find in the hub's cache) what a backbone needs; a one-line `InputError` where that fails."""
    if not is_hub_id(name):
        raise InputError(f"{name}: no such file or folder; give a path, or a hub id like Lightricks/LTX-Video-0.9.5")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise InputError(
            f"{name}: not a local path, and the hub did not give it ({reason}); pass the downloaded folder"
        ) from None
