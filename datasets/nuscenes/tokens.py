"""Tokens as 16 bytes, whatever text they are: nuScenes' own 32 hexadecimal digits, or what other writers take.

A token of 32 lower-case hexadecimal digits is its own 16 bytes. Any other text is its BLAKE2b hash of 16 bytes; its
table then keeps the texts beside the hashes.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from worldmodel.errors import InputError

NONE = "0" * 32
_PLAIN = re.compile(r"[0-9a-f]{32}")


def token_key(token: str) -> bytes:
    """The 16 bytes of one token."""
    if _PLAIN.fullmatch(token):
        return bytes.fromhex(token)
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def token_keys(tokens: Sequence[str]) -> tuple[UInt8[np.ndarray, "R 16"], bool]:
    """The 16 bytes of many tokens, of empty ones zeros, and whether all are 32 hexadecimal digits (or empty)."""
    filled = [token or NONE for token in tokens]
    keys = _digits(filled)
    hashed = b"".join(map(token_key, filled)) if keys is None else keys
    return np.frombuffer(hashed, dtype=np.uint8).reshape(-1, 16), keys is not None


def _digits(tokens: list[str]) -> bytes | None:
    """All tokens as bytes, if they are 32 lower-case hexadecimal digits each."""
    if set(map(len, tokens)) - {32}:
        return None
    joined = "".join(tokens)
    try:
        digits = bytes.fromhex(joined)  # takes capitals and blanks as well
    except ValueError:
        return None
    capitals = np.frombuffer(joined.encode(), dtype=np.uint8) - np.uint8(ord("A")) < 26
    return None if len(digits) != 16 * len(tokens) or capitals.any() else digits


def refuse_empty(path: Path, tokens: Sequence[str], done: int) -> None:
    """Raise InputError for the first record without a token; `done` records of the table came before."""
    if "" in tokens:
        raise InputError(f"table {path}, record {done + tokens.index('')}: token is empty; give every record its own")
