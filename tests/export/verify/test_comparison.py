"""How far apart two answers are, and what is allowed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_artifact as small

from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Precision
from worldmodel.export.verify.comparison import Comparison, compared_frames, compared_latents, guidance_factor


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    small.write_artifact(tmp_path / "artifact")
    return replace(Manifest.read(tmp_path / "artifact"), precision=Precision("fp32", "fp16", "fp32"), guidance=1.0)


def latents(manifest: Manifest, found: list[np.ndarray], part: str = "step") -> Comparison:
    expected = [np.full(1000, 2.0, np.float32), np.full(1000, -3.0, np.float32)]
    return compared_latents(manifest, part, "velocity", 5, found, expected)


def test_all_pairs_count_together_and_the_worst_is_told(manifest: Manifest) -> None:
    one = latents(manifest, [np.full(1000, 2.002, np.float32), np.full(1000, -3.0, np.float32)])
    assert one.relative == pytest.approx(2e-3 / 13**0.5, rel=1e-3)
    assert one.worst == pytest.approx(1e-3, rel=1e-3) and one.largest == pytest.approx(2e-3, rel=1e-3)
    assert one.passed and (one.precision, one.limit) == ("fp16", 2e-3)
    assert latents(manifest, [np.full(1000, 2.01, np.float32), np.full(1000, -3.0, np.float32)]).passed is False
    assert latents(manifest, [np.full(1000, np.nan, np.float32), np.full(1000, -3.0, np.float32)]).passed is False


def test_parts_are_judged_by_their_own_precision(manifest: Manifest) -> None:
    off = [np.full(1000, 2.012, np.float32), np.full(1000, -3.0, np.float32)]
    assert {part: latents(manifest, off, part).passed for part in ("encoder", "step", "steps")} == {
        "encoder": False,
        "step": False,
        "steps": True,
    }
    assert latents(manifest, off, "encoder").limit == 1e-5


def test_guidance_widens_errors_as_two_evaluations_do(manifest: Manifest) -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(2, 100_000))
    widened = 5 * errors[0] - 4 * errors[1]
    assert guidance_factor(5.0) == pytest.approx(widened.std() / errors.std(), rel=0.01)
    assert guidance_factor(1.0) == 1.0
    guided = replace(manifest, guidance=5.0)
    same = [np.full(1000, 2.0, np.float32), np.full(1000, -3.0, np.float32)]
    assert latents(guided, same).limit == pytest.approx(2e-3 * 41**0.5)
    assert latents(guided, same, "encoder").limit == 1e-5, "the encoder knows no guidance"


def test_frames_by_psnr(manifest: Manifest) -> None:
    black, grey = np.zeros((1, 2, 8, 8, 3), np.uint8), np.full((1, 2, 8, 8, 3), 10, np.uint8)
    off = compared_frames(manifest, "prediction", 5, [black, grey], [black, black])
    assert off.psnr == pytest.approx(20 * np.log10(255 / 10)) and off.largest == 10
    assert not off.passed and (off.precision, off.limit) == ("fp16", 40.0), "the least exact part's"
    assert compared_frames(manifest, "decoder", 5, [black], [black]).limit == 60.0
    equal = compared_frames(manifest, "prediction", 5, [grey], [grey])
    assert equal.psnr is None and equal.passed
