"""Numbers that published code computed for random tiny weights, and the rule by which those weights are made.

Both are told in the README of the golden folder.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor


class Golden:
    """One published computation: `config`, inputs and outputs in `tensors`, the weights under official names."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.spec: dict[str, Any] = json.loads(path.read_text())
        self.config: dict[str, Any] = self.spec.get("config", {})
        self.tensors = load_file(path.with_suffix(".safetensors"))
        self._salt = (path.parent / "salt.txt").read_text().strip()

    def weights(self) -> dict[str, Tensor]:
        """Random weights by the rule of the golden folder's README."""
        prefix = self.spec.get("official_prefix", "")
        weights = {prefix + name: self._weight(name, shape) for name, shape in self.spec["keys"].items()}
        if "last output row" in self.spec.get("exception", ""):
            weights[prefix + self.spec["exception"].split(":")[0]][-1] *= 0.1
        return weights

    def _weight(self, name: str, shape: list[int]) -> Tensor:
        seed = zlib.crc32(f"{self._salt}/{name}".encode())
        values = np.asarray(np.random.RandomState(seed).standard_normal(shape), dtype="float32")
        if "rule" in self.spec:
            return torch.from_numpy(_extractor_weight(name, values))
        if name.endswith("mix_factor"):
            return torch.from_numpy(values)
        if len(shape) >= 2 and "modulation" not in name and "table" not in name:
            return torch.from_numpy(values) / max(1.0, float(np.prod(shape[1:]))) ** 0.5
        return 0.1 * torch.from_numpy(values) + (1.0 if name.endswith(("weight", "gamma")) else 0.0)


def _extractor_weight(name: str, values: np.ndarray) -> np.ndarray:
    """The rule of the two feature extractors, buffers included."""
    if values.ndim >= 2:
        return values * np.float32((2 / np.prod(values.shape[1:])) ** 0.5)
    if name.endswith("running_var"):
        return 1 + np.float32(0.1) * np.abs(values)
    return np.float32(0.1) * values + np.float32(name.endswith("weight"))
