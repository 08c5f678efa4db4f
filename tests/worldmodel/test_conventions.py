"""The two named choices: what each says, and that the networks are then fed what the published code feeds them."""

import dataclasses

import pytest
import torch

from worldmodel.backbones.backbone import timesteps
from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.tiny import tiny_transformer, tiny_vae
from worldmodel.conventions import PAPER, PUBLISHED, conventions_of
from worldmodel.errors import InputError


def test_two_names_and_no_third() -> None:
    assert conventions_of("paper") is PAPER and conventions_of("published") is PUBLISHED
    with pytest.raises(InputError, match="conventions=code: use paper or published"):
        conventions_of("code")


def test_every_fact_is_one_on_which_the_two_differ() -> None:
    for side in ("sampling", "training", "memory"):
        paper, published = (dataclasses.asdict(getattr(each, side)) for each in (PAPER, PUBLISHED))
        assert not [fact for fact in paper if paper[fact] == published[fact]]
    assert PAPER.positions != PUBLISHED.positions


def test_facts_are_those_of_the_published_numbers(golden) -> None:
    for case in golden("flowc2s"):
        spec, trained = case.spec, "cases" in case.spec
        side = PUBLISHED.training if trained else PUBLISHED.sampling
        if "rope_interpolation_scale" in spec:
            assert 8 / side.frame_rate == pytest.approx(spec["rope_interpolation_scale"][0])
        if "decode_timestep" in spec:
            told = (spec["decode_timestep"], spec["decode_noise_scale"])
            assert (side.decode_timestep, side.decode_noise_scale) == told


@torch.no_grad()
@pytest.mark.parametrize("rate", [24.0, 25.0])
def test_published_positions_are_rope_interpolation_of_the_plain_pipeline(rate: float) -> None:
    torch.manual_seed(0)
    backbone = LTXBackbone(tiny_vae(), tiny_transformer(), conventions=PUBLISHED)
    x_BCfhw, embeds_BLD = torch.randn(2, 32, 3, 4, 6), torch.randn(2, 5, 32)
    ours = backbone.velocity(x_BCfhw, torch.tensor([0.7, 0.7]), embeds_BLD, torch.ones(2, 5), rate)
    theirs = backbone.transformer(
        hidden_states=x_BCfhw.flatten(2).transpose(1, 2), encoder_hidden_states=embeds_BLD,
        timestep=torch.tensor([700.0, 700.0]), encoder_attention_mask=torch.ones(2, 5), num_frames=3, height=4, width=6,
        rope_interpolation_scale=(8 / rate, 16, 16), return_dict=False,
    )[0]  # fmt: skip
    assert torch.equal(ours.flatten(2).transpose(1, 2), theirs)
    backbone.conventions = PAPER
    assert not torch.equal(ours, backbone.velocity(x_BCfhw, torch.tensor([0.7, 0.7]), embeds_BLD, None, rate))


def test_whole_timesteps_are_the_published_ones(golden) -> None:
    for case in golden("flowc2s_train"):
        for name in case.spec["cases"]:
            sigma_B = torch.sigmoid(case.tensors[f"{name}_sigma_normal"].flatten() + case.spec["shift"])
            assert torch.equal(timesteps(sigma_B, True).long(), case.tensors[f"{name}_timestep"].flatten())


def test_decoder_is_told_what_the_conventions_say_unless_given() -> None:
    vae, transformer = tiny_vae(timestep_conditioning=True), tiny_transformer()
    for conventions in (PAPER, PUBLISHED):
        told = conventions.sampling
        backbone = LTXBackbone(vae, transformer, conventions=conventions)
        assert backbone.decode_timestep == told.decode_timestep
        assert backbone.decode_noise_scale == told.decode_noise_scale
    assert LTXBackbone(vae, transformer, decode_timestep=0.1, conventions=PUBLISHED).decode_timestep == 0.1
