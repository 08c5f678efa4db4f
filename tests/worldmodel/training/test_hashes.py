"""The weights that a run starts from are hashed by one process, however many there are."""

from pathlib import Path

import torch
from launched import launched

from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.flow.guidance import Prompt
from worldmodel.measure.hashes import weights_hash
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training.captions import CaptionEncoder
from worldmodel.training.latents import LatentEncoder


def backbone() -> LTXBackbone:
    torch.manual_seed(0)
    vae = tiny_vae(base_channels=8, temporal=4)
    return tiny_backbone(vae, tiny_transformer(vae.config.latent_channels, 1, 2, 16, 16))


def of_one_process(rank: int, folder: Path) -> None:
    mine = backbone()
    captions = CaptionEncoder(FlowFramesPipeline.from_backbone(mine), torch.device("cpu"))
    if rank:  # a second process has nothing that could be hashed
        mine.vae.to("meta")
        mine.transformer.to("meta")
        captions._empty = Prompt(captions._empty.embeds_BLD.to("meta"), None)
    encoder = LatentEncoder(mine, 2, "no", captions)
    told = [encoder.hash_once(), encoder.vae_sha256, encoder.network_sha256]
    captions.hash_once()
    torch.save([*told, captions.sha256], folder / str(rank))


def test_one_process_hashes_for_all(tmp_path: Path) -> None:
    launched(of_one_process, tmp_path)
    expected = [weights_hash(backbone().vae), weights_hash(backbone().transformer)]
    captions = CaptionEncoder(FlowFramesPipeline.from_backbone(backbone()), torch.device("cpu")).sha256
    for rank in range(2):
        assert torch.load(tmp_path / str(rank)) == [expected, *expected, captions]


def test_a_network_that_inverts_nothing_is_not_part_of_a_cache() -> None:
    encoder = LatentEncoder(backbone(), 0, "no")
    assert encoder.hash_once()[1] == weights_hash(encoder.backbone.transformer) and encoder.network_sha256 == ""
