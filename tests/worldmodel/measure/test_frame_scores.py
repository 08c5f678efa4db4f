"""Scores against closed forms, and the baseline that a prediction must beat."""

import numpy as np
import pytest
import torch

from worldmodel.errors import InputError
from worldmodel.measure.frame_scores import EQUAL_DB, frame_scores, psnr_per_frame, repeat_last
from worldmodel.measure.report import scores_table
from worldmodel.pixels import to_uint8


def test_psnr_of_a_constant_difference() -> None:
    truth = torch.full((2, 3, 3, 16, 16), 100, dtype=torch.uint8)
    predicted = truth.clone()
    predicted[1] += 10
    scores = frame_scores(predicted, truth)
    assert np.allclose(scores.psnr_NT[0], EQUAL_DB)
    assert np.allclose(scores.psnr_NT[1], 20 * np.log10(25.5))
    assert np.allclose(scores.ssim_NT[0], 1.0)


@pytest.mark.parametrize("measure", [frame_scores, psnr_per_frame])
def test_floats_are_not_taken_for_levels_of_255(measure) -> None:
    """In [0, 1] they would score 48 dB too much: 86.7 instead of 38.6."""
    truth = torch.rand(1, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    predicted = (truth + 3 / 255).clamp(0, 1)
    levels = to_uint8(predicted), to_uint8(truth)
    measure(*levels)
    for given in ((predicted, truth), (predicted, levels[1]), (levels[0], truth), tuple(each.int() for each in levels)):
        with pytest.raises(InputError, match="give 8-bit frames, worldmodel.pixels.to_uint8 makes them"):
            measure(*given)


def test_what_makes_and_takes_8_bits_refuses_the_other() -> None:
    with pytest.raises(InputError, match=r"pixels of dtype uint8: give floats in \[0, 1\]"):
        to_uint8(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_means_are_over_frames_and_cameras() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 256, (2, 4, 3, 16, 16), dtype=torch.uint8, generator=generator)
    predicted = torch.randint(0, 256, (2, 4, 3, 16, 16), dtype=torch.uint8, generator=generator)
    scores = frame_scores(predicted, truth)
    summary = scores.of_frames(2).summary(("a", "b"))
    assert summary["a"]["psnr_db"] == pytest.approx(scores.psnr_NT[0, :2].mean(), abs=1e-3)
    assert summary["mean"]["ssim"] == pytest.approx(scores.ssim_NT[:, :2].mean(), abs=1e-4)
    assert "mean" in scores_table({"flowframes": summary}, ("a", "b")).splitlines()[-1]


def test_repeat_last_repeats_the_last() -> None:
    observed = torch.arange(5, dtype=torch.uint8)[None, :, None, None, None].expand(2, 5, 3, 8, 8)
    assert torch.equal(repeat_last(observed, 3), torch.full((2, 3, 3, 8, 8), 4, dtype=torch.uint8))
