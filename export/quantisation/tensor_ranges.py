"""What goes into the linears of a graph on calibration inputs: run by ONNX Runtime, reduced inside the graph.

Abs-max per channel is exact. Percentiles come from a histogram of log2 |x| over at most 65,536 values of each tensor
and sample, evenly spaced; its bins are 1.1 % wide. Only these small results leave the graph, so that the activations
of a real model (gigabytes a run) are never held.

Shape legend: K channels of a tensor (its last axis); B C f h w latents.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from jaxtyping import Float32

from worldmodel.errors import InputError, whole_message
from worldmodel.export.runtime.manifest_fields import Schedule
from worldmodel.export.runtime.sessions import open_session, session_options

Inputs = Mapping[str, np.ndarray]
"""One calibration sample: arrays by the names of the graph's inputs."""

VALUES = 65536
BINS_PER_OCTAVE, LOWEST, HIGHEST = 64, -40, 24  # of log2 |x|


@dataclass
class TensorRange:
    """What one tensor held over all samples.

    Attributes:
        channels: abs-max of each channel [K].
        counts: histogram of log2 |x|.
    """

    channels: np.ndarray
    counts: np.ndarray = field(default_factory=lambda: np.zeros((HIGHEST - LOWEST) * BINS_PER_OCTAVE, np.int64))

    @property
    def largest(self) -> float:
        """Abs-max of the tensor."""
        return float(self.channels.max())

    @property
    def rms(self) -> float:
        """Root mean square, from the histogram."""
        logs = LOWEST + (np.arange(len(self.counts)) + 0.5) / BINS_PER_OCTAVE
        return math.sqrt(float((4.0**logs * self.counts).sum()) / max(1, int(self.counts.sum())))

    def percentile(self, percent: float) -> float:
        """The magnitude that `percent` of the values do not exceed, at most the abs-max."""
        places = np.cumsum(self.counts) >= self.counts.sum() * percent / 100
        edge = 2.0 ** (LOWEST + (int(np.argmax(places)) + 1) / BINS_PER_OCTAVE)
        return min(edge, self.largest) or self.largest

    def add(self, channels: np.ndarray, values: np.ndarray) -> None:
        """Take in the abs-max per channel, and some values, of one more sample."""
        self.channels = np.maximum(self.channels, channels)
        logs = np.log2(np.maximum(np.abs(values), 2.0**LOWEST))
        bins = np.clip(((logs - LOWEST) * BINS_PER_OCTAVE).astype(np.int64), 0, len(self.counts) - 1)
        self.counts += np.bincount(bins, minlength=len(self.counts))


def record_ranges(
    path: Path,
    tensors: Collection[str],
    samples: Iterable[Inputs],
    divided_by: Mapping[str, np.ndarray] | None = None,
) -> dict[str, TensorRange]:
    """Ranges of these tensors of the graph at `path` over all samples.

    Args:
        tensors: names of values [..., K].
        divided_by: divide a tensor by this per channel [K] before it is looked at (as SmoothQuant will).

    Raises:
        InputError: no sample, a sample that the graph does not take, numbers that are not finite, or a graph that ONNX
            Runtime's CPU cannot run.
    """
    session, steps = _measuring_session(path, tensors, divided_by or {})
    ranges: dict[str, TensorRange] = {}
    number = 0
    for number, sample in enumerate(samples, start=1):
        for name, (channels, values) in _measured(session, steps, sample, number).items():
            ranges.setdefault(name, TensorRange(np.zeros_like(channels))).add(channels, values)
    if not number:
        raise InputError("calibration without a sample: give at least one, better some hundred from the dataset")
    return ranges


def _measured(
    session: Any, tensors: Sequence[str], sample: Inputs, number: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    names = [output for tensor in tensors for output in (f"{tensor}/channels", f"{tensor}/values")]
    try:
        results = session.run(names, dict(sample))
    except Exception as error:  # ONNX Runtime's exceptions have no class of their own
        reason = whole_message(error, 200)
        raise InputError(
            f"calibration sample {number} does not fit the graph ({reason}); give its inputs' shapes"
        ) from error
    measured = {tensor: (results[2 * place], results[2 * place + 1]) for place, tensor in enumerate(tensors)}
    for tensor, (channels, _) in measured.items():
        if not np.isfinite(channels).all():
            raise InputError(f"calibration sample {number}: {tensor} is not finite; calibrate on the fp32 graph")
    return measured


def _measuring_session(
    path: Path, tensors: Collection[str], divided_by: Mapping[str, np.ndarray]
) -> tuple[Any, Sequence[str]]:
    """A session of the graph with two more outputs a tensor, and the tensors in their order."""
    model = ir.load(path)
    values = {value.name: value for node in model.graph for value in node.outputs}
    values |= {value.name: value for value in model.graph.inputs}
    for tensor in tensors:
        _measure(model, values[tensor], divided_by.get(tensor))
    options = session_options()
    # Weights beside the graph are found from there though the changed graph lies in memory only.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent.resolve()))
    try:
        content = ir.to_proto(model).SerializeToString()
        session = open_session(content, options)
    except Exception as error:
        reason = whole_message(error, 200)
        raise InputError(
            f"{path}: cannot be calibrated on the CPU ({reason}); use the graph in fp32 or fp16"
        ) from error
    return session, list(tensors)


def _measure(model: ir.Model, value: ir.Value, divisor: np.ndarray | None) -> None:
    """Append to the graph: abs-max per channel, and a sample of all values, as outputs."""
    graph, name = model.graph, str(value.name)

    def constant(role: str, array: np.ndarray) -> ir.Value:
        initialiser = ir.Value(name=f"{name}/{role}", const_value=ir.tensor(array, name=f"{name}/{role}"))
        graph.register_initializer(initialiser)
        return initialiser

    def then(op: str, role: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        node = ir.node(op, inputs=list(inputs), attributes=attributes, outputs=[ir.Value(name=f"{name}/{role}")])
        graph.append(node)
        return node.outputs[0]

    wide = then("Cast", "wide", value, to=ir.DataType.FLOAT)
    if divisor is not None:
        wide = then("Div", "divided", wide, constant("divisor", divisor.astype(np.float32)))
    shape = value.shape
    assert shape is not None
    size, channels = [axis if isinstance(axis, int) else 1 for axis in shape], shape[-1]
    rows = then("Reshape", "rows", wide, constant("rows_shape", np.array([-1, channels], np.int64)))
    largest = then(
        "ReduceMax", "channels", then("Abs", "abs", rows), constant("axes", np.array([0], np.int64)), keepdims=0
    )
    flat = then("Reshape", "flat", wide, constant("flat_shape", np.array([-1], np.int64)))
    ends = (np.array([end], np.int64) for end in (0, np.iinfo(np.int64).max, 0, spacing(math.prod(size), size[-1])))
    parts = [constant(role, end) for role, end in zip(("start", "end", "axis", "step"), ends, strict=True)]
    some = then("Slice", "values", flat, *parts)
    for output in (largest, some):
        output.dtype = ir.DataType.FLOAT
        output.shape = ir.Shape([None])
        graph.outputs.append(output)


def spacing(size: int, channels: int) -> int:
    """Every how manyth of `size` values is looked at: few enough values, and in turn all channels."""
    step = max(1, size // VALUES)
    while math.gcd(step, channels) > 1:
        step += 1
    return step


def along_schedule(
    path: Path, sources: Iterable[Float32[np.ndarray, "B C f h w"]], schedule: Schedule
) -> Iterator[dict[str, np.ndarray]]:
    """All inputs that the step graph at `path` meets when it predicts from these source latents.

    Yields:
        `latents` and `sigma` of each step of each prediction.
    """
    session = open_session(path)
    for source_BCfhw in sources:
        latents_BCfhw, velocities = source_BCfhw, []
        for sigma, kept, weights in zip(schedule.sigmas, schedule.source, schedule.velocity, strict=True):
            sample = {"latents": latents_BCfhw, "sigma": np.array([sigma], np.float32)}
            yield sample
            velocities.append(session.run(None, sample)[0])
            moved = sum(weight * velocity for weight, velocity in zip(weights, velocities, strict=True))
            latents_BCfhw = (kept * source_BCfhw + moved).astype(np.float32)
