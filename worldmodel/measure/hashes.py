"""Hashes that say which weights a figure was measured with."""

import hashlib
from pathlib import Path

import torch

from worldmodel.files import file_sha256


def folder_hash(folder: str | Path) -> str:
    """sha256 over the names and contents of all files below `folder`, hidden ones left out."""
    digest, folder = hashlib.sha256(), Path(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            digest.update(f"{name}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def weights_hash(module: torch.nn.Module) -> str:
    """sha256 over the names, shapes and float32 values of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
