"""The chunks that the paper's models are trained on (Table 3): taken where nothing says another size."""

ChunkSize = tuple[int, tuple[int, int]]
"""Frames, and height and width."""

FRAMES = 17
SIZES = {"ltx": (256, 384), "wan": (240, 416)}


def published_chunk(family: str) -> ChunkSize:
    """Frames, and height and width, of a chunk; LTX's for a family that the paper does not have."""
    return FRAMES, SIZES.get(family, SIZES["ltx"])
