"""`FrechetDistance` as a streaming metric: batches, processes, padding, references, spread."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldmodel.benchmarks.metrics.distribution import FrechetDistance
from worldmodel.benchmarks.metrics.figure import Protocol
from worldmodel.benchmarks.metrics.frechet import frechet_distance_of_features
from worldmodel.benchmarks.metrics.spread import jackknife
from worldmodel.benchmarks.metrics.statistics import distance, load_reference, reference_path
from worldmodel.errors import InputError

PROTOCOL = Protocol("some-network", "ab" * 32, width=24, frames=17, clips="list@1", clips_sha256="cd" * 32)
ROWS, CLIPS = 3, 53

pytestmark = pytest.mark.filterwarnings("ignore:.*mostly bias")


def drawn(seed: int, clips: int = CLIPS, width: int = 24) -> torch.Tensor:
    """Features [clips, ROWS, width] around a mean that the seed moves; rows of one clip are alike."""
    random = torch.Generator().manual_seed(seed)
    clip = torch.randn(clips, 1, width, generator=random)
    return clip + 0.3 * torch.randn(clips, ROWS, width, generator=random) + 0.5 * seed


def filled(kept: bool = True, batch: int = CLIPS, shuffled: bool = False, **options) -> FrechetDistance:
    metric = FrechetDistance("FD", PROTOCOL, ROWS, keep_features=kept, **options)
    order = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(1)) if shuffled else torch.arange(CLIPS)
    for real, features in ((True, drawn(0)), (False, drawn(1))):
        for samples in order.split(batch):
            metric.update(features[samples], real, samples, samples // 4)
    return metric


def exact() -> float:
    return frechet_distance_of_features(*(drawn(seed).flatten(0, 1) for seed in (0, 1)))


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("batch", [1, 7, 52])
@pytest.mark.parametrize("shuffled", [True, False])
def test_batches_do_not_matter(kept: bool, batch: int, shuffled: bool) -> None:
    value = float(filled(kept, batch, shuffled).compute())
    assert value == pytest.approx(exact(), rel=1e-10)


def test_merged_states_are_the_whole() -> None:
    parts = [FrechetDistance("FD", PROTOCOL, ROWS) for _ in range(2)]
    for number, samples in enumerate(torch.arange(CLIPS).split(30)):
        for real, seed in ((True, 0), (False, 1)):
            parts[number].update(drawn(seed)[samples], real, samples)
    parts[0].merge_state(parts[1])
    assert float(parts[0].compute()) == pytest.approx(exact(), rel=1e-10)
    parts[0].reset()
    with pytest.raises(InputError, match="at least 2 clips"), warnings.catch_warnings(action="ignore"):
        parts[0].compute()


def test_padding_is_dropped_or_refused() -> None:
    for kept in (True, False):
        metric = filled(kept)
        metric.update(drawn(1)[:2], False, torch.arange(2))
        if kept:
            assert float(metric.compute()) == pytest.approx(exact(), rel=1e-10)
        else:
            with pytest.raises(InputError, match="added twice"):
                metric.compute()


def test_figure_says_what_it_was_made_with() -> None:
    figure = filled().figure()
    assert figure.clips == CLIPS and figure.rows == CLIPS * ROWS
    assert figure.protocol == replace(PROTOCOL, covariance="1/(N-1)")
    assert f"{CLIPS} clips, below 1000" in figure.remarks[0]
    assert figure.spread_kind == "jackknife" and figure.spread > 0
    assert 0 < figure.floor < figure.value and figure.jackknife < figure.value
    assert figure.line().startswith(f"FD {figure.value:.4g} (± {figure.spread:.3g} jackknife")
    assert figure.to_dict()["protocol_sha256"] != replace(figure, protocol=PROTOCOL).to_dict()["protocol_sha256"]


def test_jackknife_leaves_groups_out_of_both_sets() -> None:
    groups = torch.arange(CLIPS) // 4
    without = [
        frechet_distance_of_features(*(drawn(seed)[groups % 10 != group].flatten(0, 1) for seed in (0, 1)))
        for group in range(10)
    ]
    corrected, error = jackknife(exact(), lambda group: without[group])
    figure = filled().figure()
    assert figure.spread == pytest.approx(error, rel=1e-8)
    assert figure.jackknife == pytest.approx(corrected, rel=1e-8)
    assert figure.jackknife == pytest.approx(10 * exact() - 9 * sum(without) / 10, rel=1e-8)


def test_the_floor_is_what_equal_sets_score() -> None:
    """Two sets of one distribution: the distance is about the floor, the corrected one about nothing."""
    metric = FrechetDistance("FD", PROTOCOL, ROWS)
    for real, start in ((True, 0), (False, 400)):
        metric.update(drawn(0, clips=800)[start : start + 400], real, torch.arange(400))
    figure = metric.figure()
    assert 0.7 < figure.value / figure.floor < 1.4
    assert abs(figure.jackknife) < 0.3 * figure.value


def test_reference_statistics(tmp_path: Path) -> None:
    first = filled()
    path = first.real_set().save(tmp_path, PROTOCOL)
    assert path == reference_path(tmp_path, PROTOCOL)
    again = FrechetDistance("FD", PROTOCOL, ROWS, reference=load_reference(tmp_path, PROTOCOL))
    again.update(drawn(1), False, torch.arange(CLIPS), torch.arange(CLIPS) // 4)
    assert again.figure() == first.figure()
    with pytest.raises(InputError, match="statistics are given"):
        again.update(drawn(0), True, torch.arange(CLIPS))


@pytest.mark.parametrize("change", [{"clips_sha256": "ef" * 32}, {"resize": "other"}, {"sha256": "00"}, {"frames": 16}])
def test_statistics_of_another_protocol_are_not_found(tmp_path: Path, change: dict) -> None:
    path = filled().real_set().save(tmp_path, PROTOCOL)
    other = replace(PROTOCOL, **change)
    assert load_reference(tmp_path, other) is None
    path.rename(reference_path(tmp_path, other))
    with pytest.raises(InputError, match=f"made with {next(iter(change))}="):
        load_reference(tmp_path, other)


def test_unreadable_statistics(tmp_path: Path) -> None:
    reference_path(tmp_path, PROTOCOL).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not readable statistics"):
        load_reference(tmp_path, PROTOCOL)


def test_sums_alone_give_no_spread(tmp_path: Path) -> None:
    sums = filled(kept=False)
    figure = sums.figure()
    assert figure.value == pytest.approx(exact(), rel=1e-10)
    assert figure.spread is None and figure.floor is None and figure.jackknife is None
    reference = sums.real_set()
    metric = FrechetDistance("FD", PROTOCOL, ROWS, reference=reference)
    metric.update(drawn(1), False, torch.arange(CLIPS))
    assert metric.figure().spread_kind == "jackknife of the predicted clips alone"
    assert distance(reference, metric.sets()[1]) == pytest.approx(exact(), rel=1e-10)


def test_few_clips() -> None:
    metric = FrechetDistance("FD", PROTOCOL, ROWS)
    for real in (True, False):
        metric.update(drawn(int(real), 1), real, torch.arange(1))
    with pytest.raises(InputError, match="at least 2 clips of each kind, 1 given"):
        metric.compute()
    for real in (True, False):
        metric.update(drawn(int(real), 1) + 1, real, torch.tensor([1]))
    with pytest.warns(UserWarning, match="2 clips, below 1000"):
        value = float(metric.compute())
    assert value > 0 and metric.figure().spread is None


@pytest.mark.parametrize("bad", [torch.zeros(2, ROWS, 23), torch.zeros(2, 1, 24), torch.full((2, ROWS, 24), torch.nan)])
def test_other_features_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"is expected|not finite"):
        FrechetDistance("FD", PROTOCOL, ROWS).update(bad, True, torch.arange(2))
