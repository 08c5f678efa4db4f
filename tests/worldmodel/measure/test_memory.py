"""Memory as the system tells it."""

import torch

from worldmodel.measure.memory import HELD, PEAK, host_mb, peak_mb, settled_mb

CPU = torch.device("cpu")


def test_peak_memory_sees_what_is_gone_again() -> None:
    before = settled_mb(CPU)
    torch.ones(50_000_000 // 4).add_(1)
    assert 45 < peak_mb(CPU) - before < 70
    before = settled_mb(CPU)
    torch.ones(1000)
    assert peak_mb(CPU) - before < 10


def test_the_most_is_no_less_than_what_is_held() -> None:
    held, most = host_mb(HELD), host_mb(PEAK)
    assert held is not None and most is not None and 0 < held <= most
