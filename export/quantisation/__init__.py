"""INT8 and FP8 (E4M3) for the transformer's linears, by quantise and dequantise nodes in the ONNX graph."""

from worldmodel.export.quantisation.options import QuantisationOptions
from worldmodel.export.quantisation.quantise import quantise
from worldmodel.export.quantisation.record import QuantisationRecord

__all__ = ["QuantisationOptions", "QuantisationRecord", "quantise"]
