"""PyTorch as a backend: the very modules that were exported, so that what differs from ONNX is the runtime alone."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import InputError
from worldmodel.export.graphs.families import Graph, graphs_of
from worldmodel.export.precision import cast
from worldmodel.export.reference_pipeline import OriginalConfig, open_original
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends.backend import Values

DTYPES = {"cpu": torch.float32, "cuda": torch.float16}


class TorchBackend:
    """The graphs of an artifact before their export, in fp32 on a CPU and in fp16 on a GPU.

    Args:
        original: where the checkpoint and the prompts of the export are.
        compile: by torch.compile; a part is compiled when it first runs.
        device: "cpu" or "cuda".
        threads: of the whole process; None leaves them.

    Raises:
        InputError: no GPU, or see `open_original`.
    """

    def __init__(
        self,
        artifact: Artifact,
        original: OriginalConfig | None = None,
        compile: bool = False,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        if device not in DTYPES or device == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device={device}: torch finds none here; use device=cpu")
        if threads is not None:
            torch.set_num_threads(threads)
        self.name, self._device = "compile" if compile else "eager", torch.device(device)
        self._ports, self._compile = artifact.manifest.parts, compile
        source = open_original(artifact, original or OriginalConfig())
        graphs = graphs_of(source.pipeline.backbone, source.chunk, source.prompts, artifact.manifest.streams)
        self._modules = {part: self._ready(graph) for part, graph in graphs.items()}

    @torch.inference_mode()
    def run(self, part: str, inputs: Mapping[str, np.ndarray | Any], keep: Collection[str] = ()) -> Values:
        """See `Backend.run`; what is kept are tensors."""
        values: list[Any] = [self._on_device(inputs[port.name]) for port in self._ports[part].inputs]
        if part == "decoder_next":  # what it remembers is one argument
            values = [values[0], tuple(values[1:])]
        answer = self._modules[part](*values)
        answers = (answer,) if isinstance(answer, Tensor) else answer
        outputs = {port.name: value for port, value in zip(self._ports[part].outputs, answers, strict=True)}
        given = {name: value if name in keep else value.cpu().numpy() for name, value in outputs.items()}
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return given

    def close(self) -> None:
        """Drop the modules."""
        self._modules.clear()

    def _ready(self, graph: Graph) -> Any:
        module = cast(graph.make(), DTYPES[self._device.type]).to(self._device).eval()
        return torch.compile(module, dynamic=False) if self._compile else module

    def _on_device(self, value: np.ndarray | Tensor) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
        return tensor.to(self._device)
