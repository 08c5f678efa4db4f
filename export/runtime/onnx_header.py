"""The opset that an ONNX file asks for, read without the onnx package, which a vehicle does not have.

An ONNX file is a protobuf message: fields of a number and a wire type, of which only `opset_import` (8) is read; the
graph, which may be gigabytes, is stepped over. Source: the public `onnx.proto` and protobuf's description of its
encoding.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path

from worldmodel.errors import InputError

OPSET_IMPORT, DOMAIN, VERSION = 8, 1, 2
VARINT, EIGHT_BYTES, LENGTH_GIVEN, FOUR_BYTES = 0, 1, 2, 5
DEFAULT_DOMAINS = (b"", b"ai.onnx")


def opset_of(path: Path) -> int:
    """Version of the default operator set.

    Raises:
        InputError: the file is no ONNX model, or names no default operator set.
    """
    try:
        with path.open("rb") as file:
            imports = [dict(fields(io.BytesIO(raw))) for _, raw in fields(file, OPSET_IMPORT) if isinstance(raw, bytes)]
    except ValueError:
        imports = []
    for opset in imports:
        if opset.get(DOMAIN, b"") in DEFAULT_DOMAINS and isinstance(opset.get(VERSION), int):
            return int(opset[VERSION])
    raise InputError(f"{path}: not an ONNX model; export the artifact again")


def fields(file: io.BufferedIOBase, wanted: int | None = None) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field (only those numbered `wanted`, if given); `ValueError` where it is no message."""
    while (key := _varint(file, may_end=True)) is not None:
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value: int | bytes = _varint(file) or 0
        elif wire_type in (EIGHT_BYTES, LENGTH_GIVEN, FOUR_BYTES):
            length = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(wire_type) or _varint(file) or 0
            value = _bytes(file, length, read=wanted in (None, number))
        else:
            raise ValueError(f"wire type {wire_type}")
        if wanted in (None, number):
            yield number, value


def _varint(file: io.BufferedIOBase, may_end: bool = False) -> int | None:
    """Seven bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            if may_end and shift == 0:
                return None
            raise ValueError("cut off")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("number too long")


def _bytes(file: io.BufferedIOBase, length: int, read: bool) -> bytes:
    if read:
        content = file.read(length)
        if len(content) != length:
            raise ValueError("cut off")
        return content
    file.seek(length, os.SEEK_CUR)
    return b""
