"""An ONNX graph in fp32, fp16 or bf16 to one whose linears compute in 8 bits."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from worldmodel.errors import InputError
from worldmodel.export.onnx_files import EXTERNAL, check, save
from worldmodel.export.quantisation import linears as naming
from worldmodel.export.quantisation.calibration import Inputs, Range, record_ranges
from worldmodel.export.quantisation.linears import Linear, count_blocks, kept_wide, linears_of
from worldmodel.export.quantisation.qdq import Kind, insert
from worldmodel.export.quantisation.record import Layer, QuantisationRecord
from worldmodel.export.quantisation.smoothquant import Factors, smooth


def quantise(
    path_in: Path,
    path_out: Path,
    kind: Kind,
    calibration: Iterable[Inputs],
    keep: Collection[str] = (),
    alpha: float | None = None,
    percentile: float | None = None,
) -> QuantisationRecord:
    """Write `path_out`, checked in full, with the linears of the transformer blocks in 8 bits.

    Embeddings, projections in and out, and a tenth of the blocks at either end keep their type.

    Args:
        kind: "int8" (any chip) or "fp8" (E4M3: compute capability 8.9 and newer).
        calibration: samples, arrays by input name; held in memory, and run on the CPU.
        keep: further linears that stay as they are, by name, with * and ? as in file names.
        alpha: strength of SmoothQuant, 0 to 1; None leaves it out.
        percentile: of the magnitudes of each input at which it saturates, such as 99.99; None for the largest.

    Raises:
        InputError: an option out of range, a graph without transformer linears, or samples that do not fit it.
    """
    _check_options(alpha, percentile)
    model = ir.load(path_in)
    linears = linears_of(model)
    kept = kept_wide(linears, keep)
    chosen = [linear for linear in linears if linear.name not in kept]
    if not chosen:
        raise InputError(f"{path_in}: no linear to quantise in it; give the step graph of a transformer")
    inputs, samples = {one.name: str(one.input.name) for one in chosen}, list(calibration)
    seen = record_ranges(path_in, set(inputs.values()), samples)
    factors, unsmoothed = _smoothed(model, linears, inputs, seen, alpha)
    saturates = _saturation(path_in, seen, factors, samples, percentile)
    scales = insert(model, chosen, kind, {name: saturates[tensor] for name, tensor in inputs.items()})
    before = _bytes(path_in)
    _write(model, path_out)
    layers = {name: Layer(quantised=False, why_not=reason) for name, reason in kept.items()}
    for name, tensor in inputs.items():
        smoothing = None if alpha is None else unsmoothed.get(name, "folded")
        layers[name] = Layer(True, None, seen[tensor].largest, saturates[tensor], scales[name], smoothing)
    blocks = count_blocks(linears)
    return QuantisationRecord(
        path_out.name, kind, len(samples), percentile, alpha, blocks, naming.wide_blocks(blocks),
        before, _bytes(path_out), {linear.name: layers[linear.name] for linear in linears},
    )  # fmt: skip


def _check_options(alpha: float | None, percentile: float | None) -> None:
    if alpha is not None and not 0 <= alpha <= 1:
        raise InputError(f"alpha={alpha}: use a number from 0 (all in the activations) to 1 (all in the weights)")
    if percentile is not None and not 0 < percentile <= 100:
        raise InputError(f"percentile={percentile}: use a number up to 100, such as 99.99, or leave it out")


def _smoothed(
    model: ir.Model, linears: list[Linear], inputs: Mapping[str, str], seen: Mapping[str, Range], alpha: float | None
) -> tuple[dict[str, Factors], dict[str, str]]:
    if alpha is None:
        return {}, {}
    return smooth(model, linears, set(inputs), {tensor: one.channels for tensor, one in seen.items()}, alpha)


def _saturation(
    path: Path,
    seen: Mapping[str, Range],
    factors: Mapping[str, Factors],
    samples: list[Inputs],
    percentile: float | None,
) -> dict[str, float]:
    """Magnitude at which each tensor saturates, once it is smoothed."""
    if percentile is None:
        return {name: float(np.max(one.channels / factors.get(name, 1.0))) for name, one in seen.items()}
    smoothed = record_ranges(path, seen, samples, factors) if factors else seen
    return {name: one.percentile(percentile) for name, one in smoothed.items()}


def _write(model: ir.Model, path: Path) -> None:
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    save(model, path, external=weights > EXTERNAL)
    check(path)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}.data")) if file.is_file())
