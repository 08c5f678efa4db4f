"""A graph of free size: made once, right at other sizes. One only, since they are slow to export."""

from pathlib import Path

import onnxruntime
import torch
from export_models import CHUNK, baked, relative, small_backbone, some_latents

from worldmodel.export.graphs.families import graphs_of
from worldmodel.export.graphs.parts import Chunk
from worldmodel.export.onnx_files import export_onnx


@torch.no_grad()
def test_one_step_serves_all_sizes(tmp_path: Path) -> None:
    backbone = small_backbone("ltx")
    prompts = baked(backbone, "ltx")
    free = Chunk(CHUNK.frames, CHUNK.height, CHUNK.width, CHUNK.cameras, dynamic=True)
    graph = graphs_of(backbone, free, prompts)["step"]
    module = graph.make()
    path = tmp_path / "step.onnx"
    part = export_onnx(module, graph.examples(module), path, module.input_names, module.output_names, graph.free_shapes)
    assert part.inputs[0].shape == part.outputs[0].shape == ("B", 8, "later_latents + 1", "rows", "columns")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for chunk in (CHUNK, Chunk(17, 64, 32, cameras=1), Chunk(5, 32, 96, cameras=3)):
        latents, sigma = some_latents(backbone, chunk), torch.tensor([0.4])
        found = session.run(None, {"latents": latents.numpy(), "sigma": sigma.numpy()})[0]
        expected = graphs_of(backbone, chunk, prompts)["step"].make()(latents, sigma)
        assert relative(torch.from_numpy(found), expected) <= 1e-5
