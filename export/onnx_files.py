"""Torch modules to checked ONNX files, and what such a file looks like from outside.

One way only: torch.export, then torch.onnx's dynamo exporter at opset 20, the highest that TensorRT 10.0 to 10.3
parses. The exporter's own `dynamic_shapes` fails on LTX's transformer, so shapes are made free in torch.export.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.errors import InputError, whole_message
from worldmodel.export.runtime.manifest_fields import Part, Port

OPSET = 20
EXTERNAL = 512 * 2**20
"""Weights of more bytes lie beside the graph in `<file>.data`: protobuf ends at 2 GB, and three such graphs must fit
into one file as well."""

KEPT_METADATA = "pkg.torch.onnx.name_scopes"
"""Of a node: names of the modules it came from; the rest tells of the exporting machine."""

Inputs = Sequence[Tensor | tuple[Tensor, ...]]


def export_onnx(
    module: nn.Module,
    inputs: Inputs,
    path: Path,
    input_names: Sequence[str],
    output_names: Sequence[str],
    free_shapes: Any = None,
) -> Part:
    """Write `module` as `path` (and `<path>.data` for large weights), checked in full; what its ports are.

    Args:
        inputs: example inputs; tuples of tensors are flattened into the graph's inputs.
        input_names, output_names: of the flattened inputs and outputs, in order.
        free_shapes: `dynamic_shapes` of torch.export, None for static shapes.

    Raises:
        InputError: shapes cannot be free as asked, or the graph fails ONNX's checks.
    """
    with _quiet(), torch.no_grad():
        program = _exported(module, tuple(inputs), free_shapes, path.stem)
        onnx_program: Any = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=list(output_names),
            verbose=False,
        )
    _strip_metadata(onnx_program.model)
    if free_shapes is not None:
        _name_axes(onnx_program.model, free_shapes)
    weights = sum(value.const_value.nbytes for value in onnx_program.model.graph.initializers.values())
    save(onnx_program.model, path, external=weights > EXTERNAL)
    check(path)
    return part_of(path)


def _exported(module: nn.Module, inputs: tuple[Any, ...], free_shapes: Any, name: str) -> Any:
    try:
        return torch.export.export(module.eval(), inputs, dynamic_shapes=free_shapes, strict=False)
    except (torch._dynamo.exc.UserError, ValueError, RuntimeError) as error:
        if free_shapes is None:
            raise
        reason = whole_message(error, 200)
        raise InputError(f"dynamic=true: {name} has no graph of free shape ({reason}); leave dynamic out") from error


def save(model: Any, path: Path, external: bool) -> None:
    """Write an `onnx_ir.Model`, its weights beside it in `<path>.data` where `external`."""
    import onnx_ir

    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)  # saving appends to one that is there
    onnx_ir.save(model, path, external_data=data.name if external else None)


def check(path: Path) -> None:
    """Raise `InputError` with the first complaint of ONNX's checker about this file, shapes and types included."""
    import onnx

    try:
        # A path, not a model: files above 2 GB. full_check, since only it sees mixed types, which TensorRT refuses.
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = whole_message(error, 300)
        raise InputError(f"{path.name}: not a valid ONNX graph ({reason}); report this") from error


def part_of(path: Path) -> Part:
    """Inputs and outputs of an ONNX file as the manifest says them."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    inputs, outputs = (tuple(_port(value) for value in values) for values in (graph.input, graph.output))
    return Part(path.name, inputs, outputs)


def _port(value: Any) -> Port:
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = tuple(axis.dim_param if axis.HasField("dim_param") else axis.dim_value for axis in tensor.shape.dim)
    return Port(value.name, dtype, shape)


def _strip_metadata(model: Any) -> None:
    for node in model.graph.all_nodes():
        for key in [key for key in node.metadata_props if key != KEPT_METADATA]:
            del node.metadata_props[key]


def _name_axes(model: Any, free_shapes: dict[str, Any]) -> None:
    """Free axes get the names of torch.export's `Dim`s, in the order of the inputs, in place of s12 and the like."""
    import onnx_ir

    names: dict[str, str] = {}
    for value, axes in zip(model.graph.inputs, free_shapes.values(), strict=True):
        for axis, dim in (axes or {}).items():
            symbol = re.search(r"\bs\d+\b", str(value.shape[axis]))
            if symbol is not None:
                names[symbol[0]] = getattr(dim, "root", dim).__name__

    def named(axis: Any) -> int | str:
        return axis if isinstance(axis, int) else re.sub(r"\bs\d+\b", lambda symbol: names[symbol[0]], str(axis))

    inner = (value for node in model.graph.all_nodes() for value in node.outputs)
    for value in (*model.graph.inputs, *inner):
        if value.shape is not None:
            value.shape = onnx_ir.Shape([named(axis) for axis in value.shape])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes to its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
