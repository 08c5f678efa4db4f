"""ONNX Runtime's sessions: all are opened here, so that 8-bit products are exact on every processor.

x86-64 without VNNI adds two products of 8 bits in 16, where 255 * 127 twice does not fit: the sum saturates, and every
linear of an INT8 step may be wrong. ONNX Runtime's entry `session.x64quantprecision` takes kernels there that add in 32
bits. They are slower, and some versions take them on processors with VNNI as well, so the processor is asked first.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import InputError

PRODUCT = (
    b'\x08\x05\x12\x00:V\n\x18\n\x01a\n\x01b\x12\x01c"\rMatMulInteger\x12\x01g*\r\x08\x02\x08\x01\x10\x03B\x01bJ\x02'
    b"\x7f\x7fZ\x13\n\x01a\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01\n\x02\x08\x02b\x13\n\x01c\x12\x0e\n\x0c\x08\x06"
    b"\x12\x08\n\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\n"
)
"""An ONNX graph: int32 c [1, 1] = uint8 a [1, 2] times int8 b [2, 1], which holds 127 twice; as in sessions.cpp."""

CPU = "CPUExecutionProvider"
ERRORS_ONLY = 3  # of ONNX Runtime's log levels


def open_session(model: str | Path | bytes, options: Any = None, provider: str = CPU) -> Any:
    """An `onnxruntime.InferenceSession` of a file or a serialised model; see `session_options`.

    Raises:
        Exception: whatever ONNX Runtime raises; its exceptions have no class of their own.
    """
    import onnxruntime

    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options or session_options(), providers=[provider])


def session_options(threads: int | None = None) -> Any:
    """`onnxruntime.SessionOptions`: quiet, and exact in 8 bits on this processor.

    Args:
        threads: of one operator; None takes one a core.
    """
    options = _quiet(threads or 0)
    if saturates_here():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


@cache
def saturates_here() -> bool:
    """Whether this processor's fastest 8-bit kernels saturate; asked once a process, in a millisecond."""
    return products_saturate(_quiet(threads=1))


def products_saturate(options: Any) -> bool:
    """Whether a session with these options loses 255 * 127 + 255 * 127 in 16 bits."""
    (total,) = open_session(PRODUCT, options).run(None, {"a": np.full((1, 2), 255, np.uint8)})
    return int(total.item()) != 2 * 255 * 127


def check_products(step: str) -> None:
    """Refuse an artifact whose step is in this precision where ONNX Runtime computes it wrongly.

    The pixels of a self-test cannot tell: through the shipped tiny model, saturated products change a velocity by
    1.4e-2, and a rounding of 1e-6 in its input, grown by the quantisation of each layer, by 0.9e-2.

    Raises:
        InputError: an INT8 step, and products that saturate in spite of `session_options`.
    """
    if step == "int8" and products_saturate(session_options(threads=1)):
        import onnxruntime

        raise InputError(
            f"precision=int8: ONNX Runtime {onnxruntime.__version__} adds products of 8 bits wrongly on this processor"
            " (they saturate in 16 bits); install a newer one, or export with precision=fp16"
        )


def _quiet(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads
    return options
