"""Weight files opened lazily, and loaded into a module key by key or not at all.

diffusers' own loaders only warn about keys that are missing or left over, so a wrong file becomes a model with
random parts. Here the first missing, extra or misshapen key stops the loading and is named as the file names it.
"""

import json
import logging
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from worldmodel.errors import InputError, first_line

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
WRAPPED = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile, FSDP and activation checkpointing put into the names of a module's weights."""
PARALLEL = "module."
"""What DDP and DataParallel put in front of all of them."""

logger = logging.getLogger(__name__)


class Weights:
    """Names and tensors of one model's weight files (.safetensors, or .pth read with `weights_only=True`).

    Tensors stay on disk until `tensor(name)` asks for them. `metadata` is the safetensors header's. Names are those of
    the bare model: what compilers and wrappers add is left out, and a warning says so.
    """

    def __init__(self, paths: Path | Iterable[Path]) -> None:
        """Open the files; raises `InputError` naming the one that is absent or is not a weight file."""
        self.paths = [paths] if isinstance(paths, Path) else list(paths)
        self.metadata: dict[str, str] = {}
        self._read: dict[str, Callable[[str], Tensor]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path in self.paths:
            _refuse_what_is_no_weight_file(path)
            if path.suffix == ".safetensors":
                self._open_safetensors(path)
            else:
                self._open_pickle(path)
        self._unwrap()

    @property
    def path(self) -> Path:
        """The file that errors name (the first one of a sharded model)."""
        return self.paths[0]

    @property
    def names(self) -> list[str]:
        """All keys, as the file spells them but for what wrappers add."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, known without reading it."""
        return self._shapes[name]

    def tensor(self, name: str) -> Tensor:
        """One tensor on the CPU, in the file's dtype; raises `InputError` where it holds NaN or infinity."""
        tensor = self._read[name](name)
        if tensor.dtype in FLOATS and tensor.numel() and not all(end.isfinite() for end in tensor.aminmax()):
            raise InputError(
                f"{self.path}: key {name} holds NaN or infinity: its training diverged, or the file is damaged; use an "
                "earlier checkpoint, or download it again"
            )
        return tensor

    def _unwrap(self) -> None:
        bare = {name: WRAPPED.sub("", name) for name in self._shapes}
        if bare and all(name.startswith(PARALLEL) for name in bare.values()):
            bare = {name: short.removeprefix(PARALLEL) for name, short in bare.items()}
        changed = [name for name, short in bare.items() if name != short]
        if not changed:
            return
        if len(set(bare.values())) < len(bare):
            raise InputError(f"{self.path}: holds keys twice, with and without what wrappers add; save the bare model")
        _say_unwrapped(str(self.path), changed[0], bare[changed[0]])
        self._read = {bare[name]: partial(_read_as, read, name) for name, read in self._read.items()}
        self._shapes = {bare[name]: shape for name, shape in self._shapes.items()}

    def _open_safetensors(self, path: Path) -> None:
        try:
            file = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path}: not a readable safetensors file ({first_line(error, 120)}); download it again"
            ) from None
        self.metadata.update(file.metadata() or {})
        for name in file.keys():
            self._read[name] = file.get_tensor
            self._shapes[name] = tuple(file.get_slice(name).get_shape())

    def _open_pickle(self, path: Path) -> None:
        try:
            # Older files are plain pickles, which torch cannot map into memory.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path}: not a readable weights-only {path.suffix} file ({first_line(error, 120)}); download it again"
            ) from None
        tensors = self._table(path, loaded)
        for name, value in tensors.items():
            self._read[name] = tensors.__getitem__
            self._shapes[name] = tuple(value.shape)

    def _table(self, path: Path, loaded: object) -> dict[str, Tensor]:
        """The tensors by name in what a pickle holds; raises `InputError` where there are none."""
        if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
            raise InputError(f"{path}: not a flat table of tensors; give the model's own state dict")
        return loaded


def load_strictly(
    module: nn.Module,
    weights: Weights,
    file_key: Callable[[str], str] = str,
    prefix: str = "",
    ignore: frozenset[str] = frozenset(),
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Fill `module` (best built without memory, on "meta") from the keys of `weights` that start with `prefix`.

    `file_key` turns a parameter name of the module into the file's name without prefix; `ignore` are such names that
    carry no weight. `dtype` None keeps the file's; what the class lists as `_keep_in_fp32_modules` becomes float32, as
    diffusers' `from_pretrained` does. Raises `InputError` naming the first missing, extra or misshapen key.
    """
    targets = {prefix + file_key(name): name for name in module.state_dict()}
    present = {name for name in weights.names if name.startswith(prefix)} - {prefix + name for name in ignore}
    _refuse_other_keys(weights, targets, present)
    _refuse_other_shapes(module, weights, targets)
    keep = tuple(getattr(module, "_keep_in_fp32_modules", None) or ())
    state = {}
    for key, name in targets.items():
        wanted = torch.float32 if any(part in name for part in keep) else dtype
        state[name] = _read_float(weights, key, wanted).to(device)
    module.load_state_dict(state, strict=True, assign=True)
    module.to(device)  # buffers that no file holds


def align_weights(module: nn.Module) -> None:
    """Move CPU weights to 64-byte boundaries, where PyTorch itself allocates.

    Weights mapped from a safetensors file lie at any multiple of 4 bytes, and kernels that depend on the alignment
    round differently there: a saved and loaded pipeline then differed from itself by about 1e-6.
    """
    for weight in (*module.parameters(), *module.buffers()):
        if weight.device.type == "cpu" and weight.data_ptr() % 64:
            weight.data = weight.data.clone()


def weight_files(folder: Path, stem: str = "diffusion_pytorch_model") -> list[Path]:
    """The files of one network's weights in a diffusers folder: whole or in shards, else of the one variant there is.

    Raises `InputError` for a folder without weights, with several variants, or with a damaged list of shards.
    """
    whole, shards = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if shards.is_file():
        return [folder / name for name in _shard_names(shards)]
    if whole.is_file():
        return [whole]
    lists = {path.name[len(shards.name) - 4 : -5]: path for path in folder.glob(f"{stem}.safetensors.index.*.json")}
    files = {path.name[len(stem) + 1 : -12]: path for path in folder.glob(f"{stem}.*.safetensors")}
    variants = sorted({name for name in lists | files if "-of-" not in name})
    if len(variants) > 1:
        raise InputError(f"{folder}: weights in {len(variants)} variants ({', '.join(variants)}); keep one of them")
    if not variants:
        raise InputError(f"{folder}: no {whole.name} in it; save or download the model again, as safetensors")
    logger.warning("%s: reads the variant %s, the only weights in it", folder, variants[0])
    if variants[0] in lists:
        return [folder / name for name in _shard_names(lists[variants[0]])]
    return [files[variants[0]]]


def _refuse_other_shapes(module: nn.Module, weights: Weights, targets: dict[str, str]) -> None:
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for key, name in targets.items():
        if weights.shape(key) != shapes[name]:
            raise InputError(
                f"{weights.path}: key {key} has shape {list(weights.shape(key))}, {list(shapes[name])} expected; "
                "give the configuration that the file was made with"
            )


def _refuse_other_keys(weights: Weights, targets: dict[str, str], present: set[str]) -> None:
    missing = [key for key in targets if key not in present]
    extra = sorted(present - targets.keys())
    if missing:
        raise InputError(
            f"{weights.path}: key {missing[0]} is missing ({len(missing)} missing, {len(extra)} unknown in all); "
            "download the complete file, or give the configuration that it was made with"
        )
    if extra:
        raise InputError(
            f"{weights.path}: key {extra[0]} is not part of this model ({len(extra)} unknown in all); "
            "give the model's own file, or the configuration that it was made with"
        )


def _read_float(weights: Weights, key: str, dtype: torch.dtype | None) -> Tensor:
    tensor = weights.tensor(key)
    if tensor.dtype not in FLOATS:
        raise InputError(f"{weights.path}: key {key} is {tensor.dtype}; use the float32, float16 or bfloat16 file")
    return tensor.to(dtype or tensor.dtype)


def _read_as(read: Callable[[str], Tensor], stored: str, _: str) -> Tensor:
    return read(stored)


@cache
def _say_unwrapped(path: str, stored: str, bare: str) -> None:
    logger.warning("%s: reads key %s as %s, without what a wrapper or compiler added", path, stored, bare)


def _shard_names(index: Path) -> list[str]:
    try:
        return sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: not a readable list of shards ({first_line(error, 120)}); restore it") from None


def _refuse_what_is_no_weight_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path, or download the file into it")
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if head.startswith(b"<"):
        raise InputError(f"{path}: a web page, not weights; download the file itself (log in first where it is gated)")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: a Git LFS pointer, not weights; run `git lfs pull` in its folder")
    if not head:
        raise InputError(f"{path}: an empty file; download it again")
