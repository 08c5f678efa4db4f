"""Two processes with unlike shares, padding, or nothing at all give what one gives."""

import warnings
from pathlib import Path

import pytest
import torch
from launched import launched
from torch import Tensor

from worldmodel.benchmarks.metrics.distribution import FrechetDistance
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.pairwise import PSNR

CLIPS, ROWS, WIDTH, FRAMES = 53, 3, 24, 4
FEATURES = Protocol("some-network", width=WIDTH, frames=FRAMES)
PIXELS = Protocol("", frames=FRAMES)
PADDING = torch.tensor([0, 9])  # scored by both processes


def features(seed: int) -> Tensor:
    return torch.randn(CLIPS, ROWS, WIDTH, generator=torch.Generator().manual_seed(seed)) + 0.5 * seed


def frames(seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (CLIPS, FRAMES, 3, 8, 8), generator=random).to(torch.uint8)


def scored(shares: dict[str, Tensor]) -> dict[str, object]:
    """Figures of every metric after this process's share of the clips."""
    metrics = {
        "kept, padded": FrechetDistance("FD", FEATURES, ROWS),
        "kept, on one process": FrechetDistance("FD", FEATURES, ROWS),
        "sums": FrechetDistance("FD", FEATURES, ROWS, keep_features=False),
        "sums, on one process": FrechetDistance("FD", FEATURES, ROWS, keep_features=False),
        "scores, padded": PSNR(PIXELS),
        "scores, on one process": PSNR(PIXELS),
    }
    found: dict[str, object] = {}
    for name, metric in metrics.items():
        share = shares[name.partition(", ")[2]]
        for part in share.split(5) if len(share) else ():
            if isinstance(metric, PSNR):
                metric.update(frames(1)[part], frames(0)[part], part, groups_B=part // 4)
            else:
                metric.update(features(0)[part], True, part, part // 4)
                metric.update(features(1)[part], False, part, part // 4)
        with warnings.catch_warnings(action="ignore"):  # few clips; none at all on one process
            found[name] = float(metric.compute()), metric.figure()
        if isinstance(metric, FrechetDistance):
            assert int(metric.real_count) == ROWS * len(share)  # its own again, not everybody's
    return found


def of_one_process(rank: int, folder: Path) -> None:
    mine = torch.arange(20) if rank == 0 else torch.arange(20, CLIPS)
    nothing = torch.arange(0)
    everything = torch.arange(CLIPS)
    shares = {"": mine, "padded": torch.cat([mine, PADDING]), "on one process": nothing if rank else everything}
    torch.save(scored(shares), folder / f"result-{rank}")


def test_processes_do_not_matter(tmp_path: Path) -> None:
    launched(of_one_process, tmp_path)
    everything = torch.arange(CLIPS)
    alone = scored({"": everything, "padded": torch.cat([everything, PADDING]), "on one process": everything})
    results = [torch.load(tmp_path / f"result-{rank}", weights_only=False) for rank in range(2)]
    for name, (value, figure) in alone.items():
        assert results[0][name] == results[1][name], name
        other, its_figure = results[0][name]
        assert other == pytest.approx(value, rel=1e-10), name
        assert its_figure.value == pytest.approx(figure.value, rel=1e-10), name
        assert its_figure.clips == figure.clips == CLIPS, name
        assert (its_figure.spread is None) == name.startswith("sums"), name
        if figure.spread is not None:
            assert its_figure.spread == pytest.approx(figure.spread, rel=1e-9), name
