"""An ONNX graph in fp32, fp16 or bf16 to one whose linears compute in 8 bits."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from worldmodel.errors import InputError
from worldmodel.export.onnx_files import EXTERNAL, check, save
from worldmodel.export.quantisation.linears import Linear, count_blocks, kept_wide, linears_of, wide_blocks
from worldmodel.export.quantisation.options import PLAIN, QuantisationOptions
from worldmodel.export.quantisation.qdq import INT8_LARGEST, Kind, insert
from worldmodel.export.quantisation.record import Layer, QuantisationRecord
from worldmodel.export.quantisation.smoothquant import Factors, smooth
from worldmodel.export.quantisation.tensor_ranges import Inputs, TensorRange, record_ranges

TINY = 1e-30


@dataclass(frozen=True)
class Rounding:
    """What 8 bits do to one tensor, once it is smoothed.

    Attributes:
        saturates: magnitude from which its values are all the same.
        share: of its root mean square by which INT8 rounds its values, itself as a root mean square.
    """

    saturates: float
    share: float


def quantise(
    path_in: Path,
    path_out: Path,
    kind: Kind,
    calibration: Iterable[Inputs],
    options: QuantisationOptions = PLAIN,
) -> QuantisationRecord:
    """Write `path_out`, checked in full, with the linears of the transformer blocks in 8 bits.

    Embeddings, projections in and out, and a tenth of the blocks at either end keep their type.

    Args:
        kind: "int8" (any chip) or "fp8" (E4M3: compute capability 8.9 and newer).
        calibration: samples, arrays by input name; held in memory, and run on the CPU.

    Raises:
        InputError: a graph without transformer linears, or samples that do not fit it.
    """
    model, samples = ir.load(path_in), list(calibration)
    linears = linears_of(model)
    kept = kept_wide(linears, options.keep)
    inputs = _inputs_of_others(linears, kept, path_in)
    measured = record_ranges(path_in, set(inputs.values()), samples)
    roundings = _roundings(path_in, inputs, measured, samples, options)
    if kind == "int8" and options.rounding is not None:
        kept |= _too_coarse(inputs, roundings, options.rounding)
        inputs = _inputs_of_others(linears, kept, path_in)
    _, smoothing = _smoothed(model, linears, inputs, measured, options.alpha)
    chosen = [linear for linear in linears if linear.name in inputs]
    scales = insert(model, chosen, kind, {name: roundings[tensor].saturates for name, tensor in inputs.items()})
    _write(model, path_out)
    layers = {name: Layer(quantised=False, why_not=reason) for name, reason in kept.items()}
    for name, tensor in inputs.items():
        saturates = roundings[tensor].saturates
        layers[name] = Layer(True, None, measured[tensor].largest, saturates, scales[name], smoothing.get(name))
    blocks = count_blocks(linears)
    return QuantisationRecord(
        path_out.name, kind, len(samples), options.percentile, options.alpha, options.rounding, blocks,
        wide_blocks(blocks), _bytes(path_in), _bytes(path_out),
        {linear.name: layers[linear.name] for linear in linears},
    )  # fmt: skip


def _inputs_of_others(linears: list[Linear], kept: Mapping[str, str], path: Path) -> dict[str, str]:
    """Input of each linear that is not kept, by the linear's name."""
    inputs = {linear.name: str(linear.input.name) for linear in linears if linear.name not in kept}
    if not inputs:
        raise InputError(
            f"{path}: no linear to quantise in it; give the step graph of a transformer, keep fewer of its linears, or"
            " allow more rounding"
        )
    return inputs


def _too_coarse(inputs: Mapping[str, str], roundings: Mapping[str, Rounding], limit: float) -> dict[str, str]:
    """Linears whose input 8 bits would round by more than `limit`, and a sentence about each."""
    shares = {name: roundings[tensor].share for name, tensor in inputs.items()}
    return {
        name: f"8 bits would round its input by {share:.1%} of its root mean square"
        for name, share in shares.items()
        if share > limit
    }


def _smoothed(
    model: ir.Model,
    linears: list[Linear],
    inputs: Mapping[str, str],
    measured: Mapping[str, TensorRange],
    alpha: float | None,
) -> tuple[dict[str, Factors], dict[str, str]]:
    if alpha is None:
        return {}, {}
    return smooth(model, linears, set(inputs), {tensor: held.channels for tensor, held in measured.items()}, alpha)


def _roundings(
    path: Path,
    inputs: Mapping[str, str],
    measured: Mapping[str, TensorRange],
    samples: list[Inputs],
    options: QuantisationOptions,
) -> dict[str, Rounding]:
    """Of each tensor, once it is smoothed; tried on a graph that is thrown away."""
    tried = ir.load(path)
    factors, _ = _smoothed(tried, linears_of(tried), inputs, measured, options.alpha)
    # A division changes how large a tensor is, so that what was measured before it holds no longer.
    ranges = record_ranges(path, measured, samples, factors) if factors else measured
    roundings = {}
    for tensor, held in ranges.items():
        saturates = held.largest if options.percentile is None else held.percentile(options.percentile)
        # The error of rounding to steps is spread evenly over a step: its root mean square is a step over sqrt(12).
        roundings[tensor] = Rounding(saturates, saturates / INT8_LARGEST / math.sqrt(12) / max(held.rms, TINY))
    return roundings


def _write(model: ir.Model, path: Path) -> None:
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    save(model, path, external=weights > EXTERNAL)
    check(path)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}.data")) if file.is_file())
