"""Casting graphs, and finding the layers that fp16 cannot hold."""

import pytest
import torch
from export_models import CHUNK, FAMILIES, baked, relative, small_backbone, some_latents, some_video
from torch import Tensor, nn

from worldmodel.errors import InputError
from worldmodel.export.graphs.copies import shared_copy
from worldmodel.export.graphs.families import graphs_of
from worldmodel.export.precision import InFloat32, LayerRange, beyond_half, cast, recorded


class Loud(nn.Module):
    """Its second layer makes numbers that fp16 does not hold; the last one makes them small again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.loud, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.loud.weight.data *= 3e5
        self.last.weight.data *= 1e-6
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.last(self.loud(self.first(x))))


@torch.no_grad()
def test_layers_beyond_half_stay_in_float32_and_only_they() -> None:
    graph, x = Loud(), torch.randn(4, 8)
    expected = graph(x)
    with recorded(graph) as ranges:
        graph(x), graph(x / 2)
    assert beyond_half(ranges) == ["loud", "last"]
    assert ranges["loud"].output == ranges["last"].input > 3e4
    plain = cast(shared_copy(graph), torch.float16)
    assert not plain(x).isfinite().all(), "the case that this is for"
    kept = cast(shared_copy(graph), torch.float16, beyond_half(ranges))
    assert (kept.first.weight.dtype, kept.loud.weight.dtype) == (torch.float16, torch.float32)
    assert relative(kept(x), expected) < 2e-3


def test_what_is_not_finite_is_beyond() -> None:
    ranges = {"nan": LayerRange(1.0, float("nan")), "inf": LayerRange(float("inf"), 1.0), "well": LayerRange(2e4, 3e4)}
    assert beyond_half(ranges) == ["nan", "inf"]


def test_recording_leaves_no_hooks() -> None:
    graph = Loud()
    with recorded(graph):
        pass
    assert not any(module._forward_hooks for module in graph.modules())


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(InputError, match="keep=third: the graph has no such layer"):
        cast(Loud(), torch.float16, ["third"])


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_near_and_shares_nothing_with_the_backbone(family: str) -> None:
    backbone = small_backbone(family)
    before = [parameter.dtype for parameter in backbone.transformer.parameters()]
    graph = graphs_of(backbone, CHUNK, baked(backbone, family))["step"]
    inputs = (some_latents(backbone), torch.tensor([0.6]))
    half = cast(graph.make(), torch.float16)
    found = half(*inputs)
    assert found.dtype == torch.float32 and relative(found, graph.make()(*inputs)) < 5e-3
    assert [parameter.dtype for parameter in backbone.transformer.parameters()] == before
    kinds = {name: parameter.dtype for name, parameter in half.named_parameters()}
    linear = "transformer_blocks.1.attn1.to_q.weight" if family != "wan" else "blocks.1.attn1.to_q.weight"
    assert kinds[f"network.{linear}"] == torch.float16
    embedder = "time_embed.emb" if family != "wan" else "time_embedder"
    assert {dtype for name, dtype in kinds.items() if f".{embedder}." in name} == {torch.float32}
    assert {dtype for name, dtype in kinds.items() if ".norm" in name} == {torch.float32}
    assert all(buffer.dtype == torch.float32 for buffer in half.buffers())


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", ["ltx", "wan"])
def test_halved_autoencoders_are_near(family: str, dtype: torch.dtype) -> None:
    backbone = small_backbone(family)
    graphs = graphs_of(backbone, CHUNK, baked(backbone, family))
    margin = 1.0 if dtype == torch.float16 else 8.0
    encoder, video = graphs["encoder"], some_video()
    assert relative(cast(encoder.make(), dtype)(video), encoder.make()(video)) < 2e-3 * margin
    decoder, latents = graphs["decoder"], some_latents(backbone)
    difference = cast(decoder.make(), dtype)(latents).float() - decoder.make()(latents).float()
    assert difference.abs().mean() < 0.2 * margin


@torch.no_grad()
def test_half_norms_compute_in_float32() -> None:
    norm = InFloat32(nn.RMSNorm(4))
    x = torch.tensor([[300.0, 400.0, 0.0, 0.0]], dtype=torch.float16)  # its squares are beyond fp16
    assert norm(x).dtype == torch.float16
    torch.testing.assert_close(norm(x).float(), torch.tensor([[1.2, 1.6, 0.0, 0.0]]), rtol=1e-3, atol=0)
