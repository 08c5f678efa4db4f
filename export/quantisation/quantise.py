"""An ONNX graph in fp32, fp16 or bf16 to one whose linears compute in 8 bits."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from worldmodel.errors import InputError
from worldmodel.export.onnx_files import EXTERNAL, check, save
from worldmodel.export.quantisation import linears as naming
from worldmodel.export.quantisation.calibration import Inputs, Range, record_ranges
from worldmodel.export.quantisation.linears import Linear, count_blocks, kept_wide, linears_of
from worldmodel.export.quantisation.qdq import INT8_LARGEST, Kind, insert
from worldmodel.export.quantisation.record import Layer, QuantisationRecord
from worldmodel.export.quantisation.smoothquant import Factors, smooth

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
    keep: Collection[str] = (),
    alpha: float | None = None,
    percentile: float | None = None,
    rounding: float | None = None,
) -> QuantisationRecord:
    """Write `path_out`, checked in full, with the linears of the transformer blocks in 8 bits.

    Embeddings, projections in and out, and a tenth of the blocks at either end keep their type.

    Args:
        kind: "int8" (any chip) or "fp8" (E4M3: compute capability 8.9 and newer).
        calibration: samples, arrays by input name; held in memory, and run on the CPU.
        keep: further linears that stay as they are, by name, with * and ? as in file names.
        alpha: strength of SmoothQuant, 0 to 1; None leaves it out.
        percentile: of the magnitudes of each input at which it saturates, such as 99.99; None for the largest.
        rounding: linears whose input INT8 would round by a larger share of its root mean square than this stay as
            they are; such inputs have a few values far above all others. None keeps none; FP8 has steps that grow with
            the values, and no such linears.

    Raises:
        InputError: an option out of range, a graph without transformer linears, or samples that do not fit it.
    """
    check_options(alpha, percentile, rounding)
    model, samples = ir.load(path_in), list(calibration)
    linears = linears_of(model)
    kept = kept_wide(linears, keep)
    inputs = _others(linears, kept, path_in)
    seen = record_ranges(path_in, set(inputs.values()), samples)
    roundings = _roundings(path_in, inputs, seen, samples, alpha, percentile)
    if kind == "int8" and rounding is not None:
        kept |= _too_coarse(inputs, roundings, rounding)
        inputs = _others(linears, kept, path_in)
    _, smoothing = _smoothed(model, linears, inputs, seen, alpha)
    chosen = [linear for linear in linears if linear.name in inputs]
    scales = insert(model, chosen, kind, {name: roundings[tensor].saturates for name, tensor in inputs.items()})
    _write(model, path_out)
    layers = {name: Layer(quantised=False, why_not=reason) for name, reason in kept.items()}
    for name, tensor in inputs.items():
        saturates = roundings[tensor].saturates
        layers[name] = Layer(True, None, seen[tensor].largest, saturates, scales[name], smoothing.get(name))
    blocks = count_blocks(linears)
    return QuantisationRecord(
        path_out.name, kind, len(samples), percentile, alpha, rounding, blocks, naming.wide_blocks(blocks),
        _bytes(path_in), _bytes(path_out), {linear.name: layers[linear.name] for linear in linears},
    )  # fmt: skip


def check_options(alpha: float | None, percentile: float | None, rounding: float | None) -> None:
    """`InputError` for a value out of range; see `quantise`."""
    if alpha is not None and not 0 <= alpha <= 1:
        raise InputError(f"smoothing={alpha}: use a number from 0 (all in the activations) to 1 (all in the weights)")
    if percentile is not None and not 0 < percentile <= 100:
        raise InputError(f"percentile={percentile}: use a number up to 100, such as 99.99, or leave it out")
    if rounding is not None and not rounding > 0:
        raise InputError(f"rounding={rounding}: use a share above 0, such as 0.02, or leave it out")


def _others(linears: list[Linear], kept: Mapping[str, str], path: Path) -> dict[str, str]:
    """Input of each linear that is not kept, by the linear's name."""
    inputs = {one.name: str(one.input.name) for one in linears if one.name not in kept}
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
    model: ir.Model, linears: list[Linear], inputs: Mapping[str, str], seen: Mapping[str, Range], alpha: float | None
) -> tuple[dict[str, Factors], dict[str, str]]:
    if alpha is None:
        return {}, {}
    return smooth(model, linears, set(inputs), {tensor: one.channels for tensor, one in seen.items()}, alpha)


def _roundings(
    path: Path,
    inputs: Mapping[str, str],
    seen: Mapping[str, Range],
    samples: list[Inputs],
    alpha: float | None,
    percentile: float | None,
) -> dict[str, Rounding]:
    """Of each tensor, once it is smoothed; tried on a graph that is thrown away."""
    tried = ir.load(path)
    factors, _ = _smoothed(tried, linears_of(tried), inputs, seen, alpha)
    ranges = record_ranges(path, seen, samples, factors) if factors else seen
    found = {}
    for tensor, one in ranges.items():
        saturates = one.largest if percentile is None else one.percentile(percentile)
        found[tensor] = Rounding(saturates, saturates / INT8_LARGEST / math.sqrt(12) / max(one.rms, TINY))
    return found


def _write(model: ir.Model, path: Path) -> None:
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    save(model, path, external=weights > EXTERNAL)
    check(path)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}.data")) if file.is_file())
