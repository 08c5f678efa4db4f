"""One ONNX graph from video to video: encoder, a Loop of steps, decoder.

The loop carries the latents and the velocities so far, [N, B * C * f * h * w] with zeros for those to come, so that any
schedule of the manifest runs in it: each round multiplies one row of its coefficients with them. Weights stay where
they are: what lies in `<part>.onnx.data` is shared with the three graphs.

Shape legend: B clips; C f h w latents; N steps.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from worldmodel.export.onnx_files import OPSET, check, part_of
from worldmodel.export.runtime.manifest_fields import Part, Schedule

PARTS = ("encoder", "step", "decoder")


def write_single(folder: Path, parts: dict[str, Part], schedule: Schedule, name: str = "single.onnx") -> Part:
    """Compose the graphs of `folder` into `name` beside them, checked.

    Its input `observed` and its output `predicted` are uint8 [B, F, H, W, 3].
    The graphs are of one size, and the decoder decodes a whole chunk.
    """
    sizes = [int(axis) for axis in parts["step"].inputs[0].shape]
    models = {part: _prefixed(folder / parts[part].file, part) for part in PARTS}
    model = _model(models, _loop(models["step"].graph, sizes, len(schedule.sigmas)), _constants(schedule, sizes))
    onnx.save(model, str(folder / name))
    check(folder / name)
    return part_of(folder / name)


def _prefixed(path: Path, part: str) -> ModelProto:
    """A graph whose names begin with the part's, weights beside it left there."""
    return onnx.compose.add_prefix(onnx.load(str(path), load_external_data=False), f"{part}/", inplace=True)


def _constants(schedule: Schedule, sizes: list[int]) -> list[TensorProto]:
    """The schedule in float32, dense, and what the loop starts and reshapes with."""
    steps = len(schedule.sigmas)
    weights = np.zeros((steps, steps), np.float32)
    for place, row in enumerate(schedule.velocity):
        weights[place, : len(row)] = row
    tensors: dict[str, np.ndarray] = {
        "sigmas": np.array(schedule.sigmas, np.float32)[:, None],
        "source_weights": np.array(schedule.source, np.float32)[:, None],
        "velocity_weights": weights[:, None],
        "places": np.eye(steps, dtype=np.float32)[:, :, None],
        "no_velocities": np.zeros((steps, int(np.prod(sizes))), np.float32),
        "row_shape": np.array([1, -1], np.int64),
        "latent_shape": np.array(sizes, np.int64),
        "steps": np.array(steps, np.int64),
        "go_on": np.array(True),
    }
    return [numpy_helper.from_array(array, f"loop/{name}") for name, array in tensors.items()]


def _loop(step: GraphProto, sizes: list[int], steps: int) -> GraphProto:
    """The Loop's body: one step and the row of the recurrence that follows it."""
    flat = [steps, int(np.prod(sizes))]
    latents, velocities = _float("loop/latents", sizes), _float("loop/velocities", flat)
    place, go_on = _value("loop/place", TensorProto.INT64, []), _value("loop/condition", TensorProto.BOOL, [])
    before = [
        *(_node("Gather", [f"loop/{table}", "loop/place"], f"loop/{row}") for table, row in _ROWS.items()),
        _node("Identity", ["loop/latents"], "step/latents"),
        _node("Identity", ["loop/sigma"], "step/sigma"),
    ]
    after = [
        _node("Reshape", ["step/velocity", "loop/row_shape"], "loop/velocity"),
        _node("Mul", ["loop/here", "loop/velocity"], "loop/placed"),
        _node("Add", ["loop/velocities", "loop/placed"], "loop/velocities_next"),
        _node("MatMul", ["loop/weights", "loop/velocities_next"], "loop/moved"),
        _node("Reshape", ["loop/moved", "loop/latent_shape"], "loop/moved_latents"),
        _node("Mul", ["loop/source_weight", "encoder/latents"], "loop/kept"),
        _node("Add", ["loop/kept", "loop/moved_latents"], "loop/latents_next"),
        _node("Identity", ["loop/condition"], "loop/condition_next"),
    ]
    outputs = [
        _value("loop/condition_next", TensorProto.BOOL, []),
        _float("loop/latents_next", sizes),
        _float("loop/velocities_next", flat),
    ]
    body = helper.make_graph([*before, *step.node, *after], "loop", [place, go_on, latents, velocities], outputs)
    body.value_info.extend(step.value_info)
    return body


_ROWS = {"sigmas": "sigma", "source_weights": "source_weight", "velocity_weights": "weights", "places": "here"}
"""Table -> its row of this round."""


def _model(models: dict[str, ModelProto], body: GraphProto, constants: list[TensorProto]) -> ModelProto:
    encoder, step, decoder = (models[part].graph for part in PARTS)
    loop = helper.make_node(
        "Loop",
        ["loop/steps", "loop/go_on", "encoder/latents", "loop/no_velocities"],
        ["decoder/latents", "loop/all_velocities"],
        name="loop",
        body=body,
    )
    graph = helper.make_graph(
        [*encoder.node, loop, *decoder.node],
        "worldmodel",
        list(encoder.input),
        list(decoder.output),
        [*encoder.initializer, *step.initializer, *decoder.initializer, *constants],
    )
    graph.value_info.extend([*encoder.value_info, *decoder.value_info])
    _rename(graph, {"encoder/video": "observed", "decoder/video": "predicted"})
    functions = [function for part in PARTS for function in models[part].functions]
    versions = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=versions, ir_version=models["step"].ir_version, functions=functions)


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    """Of the outermost inputs and outputs."""
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    for node in graph.node:
        for names_of in (node.input, node.output):
            for place, name in enumerate(names_of):
                names_of[place] = names.get(name, name)


def _node(operator: str, inputs: list[str], output: str) -> NodeProto:
    return helper.make_node(operator, inputs, [output], name=output)


def _float(name: str, shape: list[int]) -> Any:
    return _value(name, TensorProto.FLOAT, shape)


def _value(name: str, kind: int, shape: list[int]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
