"""The miniature: its figures against closed forms, its runs equal but for what is compared, its plots a picture."""

import copy
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from worldmodel.benchmarks.studies.miniature import plots
from worldmodel.benchmarks.studies.miniature.scores import edges, latent_frechet, straightness
from worldmodel.benchmarks.studies.miniature.variants import VARIANTS, Budget, runs


def latents(seed: int = 0) -> torch.Tensor:
    return torch.randn(50, 3, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_the_frechet_distance_of_shifted_and_scaled_gaussians() -> None:
    x = latents()
    variance = float(x.movedim(1, -1).flatten(0, -2).var(dim=0).sum())
    assert latent_frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert latent_frechet(x, x + 2.0) == pytest.approx(3 * 4.0, rel=1e-5)
    assert latent_frechet(x, 3 * x - 2 * x.mean((0, 2, 3, 4), keepdim=True)) == pytest.approx(4 * variance, rel=1e-4)
    assert latent_frechet(x, latents(1)) < 0.05


def test_the_frechet_distance_of_fewer_tokens_than_channels_is_finite() -> None:
    few = torch.randn(1, 64, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    assert latent_frechet(few, few) == pytest.approx(0, abs=1e-6)
    assert latent_frechet(few, few + 1.0) == pytest.approx(64.0, rel=1e-4)


def test_a_straight_path_is_1_and_a_right_angle_the_root_of_2() -> None:
    corners = [torch.zeros(2, 1, 1, 1, 2)]
    for point in ((1.0, 0.0), (1.0, 1.0)):
        corners.append(torch.tensor(point).expand(2, 1, 1, 1, 2))
    assert straightness(corners) == pytest.approx(2**0.5)
    assert straightness([corners[0], corners[2] / 3, corners[2]]) == pytest.approx(1.0)


def test_edges_of_a_checkerboard_and_of_a_flat_picture() -> None:
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 100).to(torch.uint8).expand(1, 1, 3, 8, 8)
    assert float(edges(board)) == 100.0
    assert float(edges(torch.zeros_like(board))) == 0.0


def test_runs_differ_in_what_is_compared_only(tmp_path: Path) -> None:
    configs = runs(tmp_path, tmp_path, "tiny_base", Budget(seeds=2))
    assert len(configs) == 2 * len(VARIANTS)
    first = asdict(configs["fine-tuned, inherent + inversion", 0])
    for (name, seed), config in configs.items():
        differing = {key for key, value in asdict(config).items() if value != first[key]}
        assert differing - {"out"} <= {*VARIANTS[name]} | ({"seed"} if seed else set())
    assert len({config.out for config in configs.values()}) == len(configs)


def result() -> dict:
    score = {"psnr_db": 15.0, "sharpness": 0.5, "latent_frechet": 20.0, "straightness": 1.1}
    run = {
        "by_evaluations": {str(number): score for number in (1, 2, 5, 6, 10, 40)},
        "by_step": {"10": score, "20": score},
        "psnr_db_by_frame": [18.0, 16.0],
        "loss": [[step, 1.0, 1.0 / step] for step in range(1, 21)],
        "floor": {"psnr_db": 14.0, "latent_frechet": 4.0, "psnr_db_by_frame": [17.0, 13.0]},
    }
    other = copy.deepcopy(run)
    other["by_evaluations"]["5"] = score | {"psnr_db": 17.0}
    variants = {name: {"0": run, "1": other} for name in VARIANTS}
    return {"budget": asdict(Budget(steps=20, seeds=2)), "clips": 3, "variants": variants}


def test_the_table_has_means_and_the_spread_of_the_seeds() -> None:
    said = plots.text(result())
    assert said.count("16.00 ± 1.41") == len(VARIANTS)
    assert "Repeating the last frame: 14.00 dB" in said


def test_the_plots_are_a_picture(tmp_path: Path) -> None:
    plots.draw(result(), tmp_path)
    with Image.open(tmp_path / "miniature.png") as picture:
        assert picture.size[0] > 1000
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 50
