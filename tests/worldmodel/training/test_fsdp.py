"""Weights sharded by FSDP (version 2), in one process on a CPU: what accelerate's policy does to a batch."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as distributed
from accelerate.utils import FullyShardedDataParallelPlugin
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.datasets.pairs import Batch, LatentPair
from worldmodel.training import DataConfig, TrainConfig
from worldmodel.training.objectives import FlowFramesObjective
from worldmodel.training.processes import keep_float32


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


class Noting(FlowFramesObjective):
    """Keeps the latents as they arrive."""

    def coupling(self, latents, draws):
        self.arrived = latents.mean.clone()
        return super().coupling(latents, draws)


def objective() -> Noting:
    torch.manual_seed(0)
    vae, network = tiny_vae(8, 8), tiny_transformer(8, layers=2, heads=2, head_dim=16, caption_channels=8)
    return Noting(tiny_backbone(vae.requires_grad_(False), network), TrainConfig(DataConfig("unused")))


def test_latents_and_losses_are_not_rounded_to_bfloat16(alone: None) -> None:
    plain, sharded = objective(), objective()
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, mixed_precision_policy="bf16")
    keep_float32(plugin)
    mesh = init_device_mesh("cpu", (1,))
    for module in (*sharded.transformer.transformer_blocks, sharded):
        fully_shard(module, mesh=mesh, mp_policy=plugin.mixed_precision_policy)
    drawn = torch.Generator().manual_seed(1)
    mean, std, noise = (torch.randn(2, *shape, 8, 2, 4, 6, generator=drawn).half() for shape in ((2,), (), ()))
    batch = Batch(latents=LatentPair(mean, std.abs(), noise), frame_rates=(12.0, 12.0), seeds=(1, 2))
    losses, expected = sharded(batch), plain(batch)
    assert torch.equal(sharded.arrived, mean.float())
    assert losses["loss"].dtype == torch.float32
    assert float(losses["loss"].detach()) == pytest.approx(float(expected["loss"].detach()), rel=1e-2)
    losses["loss"].backward()
    weight = sharded.transformer.proj_in.weight
    assert weight.dtype == weight.grad.dtype == torch.float32
    assert float(weight.grad.full_tensor().norm()) > 0


def test_without_mixed_precision_there_is_nothing_to_keep() -> None:
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    keep_float32(plugin)
    assert plugin.mixed_precision_policy is None
