"""Which of torch's attention kernels training uses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def fastest_attention(device: torch.device) -> Iterator[None]:
    """On a CPU, plain matrix products in the inputs' own precision; elsewhere torch's choice.

    A training step of `tiny` in bfloat16 took 0.53 s so and 0.75 s with torch 2.13's fused CPU kernel (two cores).
    """
    if device.type != "cpu":
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)
