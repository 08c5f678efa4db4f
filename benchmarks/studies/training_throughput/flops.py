"""FLOP of a sample by formula and by torch's counter, and the matrix products that bound how fast they can run."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from worldmodel.backbones.backbone import Backbone
from worldmodel.benchmarks.studies.training_throughput.steps import plain_step
from worldmodel.measure.flops import product_rate

SQUARE = {"cuda": 8192, "cpu": 1024}
Linears = Counter[tuple[int, int]]
"""Rows a sample by (inputs, outputs) of linear layers."""


@dataclass(frozen=True)
class SampleFlops:
    """FLOP of a sample: `forward` by our formula, `counted` by torch's counter over forward and backward.

    `linears` has the rows of a sample by (inputs, outputs).
    """

    forward: float
    counted: float
    linears: Linears

    @property
    def step(self) -> float:
        """Of a training step, a sample."""
        return 3 * self.forward


def flops_of(backbone: Backbone, latents: tuple[int, ...]) -> SampleFlops:
    """Counted in one forward and backward of one sample."""
    network: Any = backbone.transformer
    linears, attention = Counter[tuple[int, int]](), Counter[str]()

    def seen(module: Any, given: tuple[Any, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            linears[module.in_features, module.out_features] += output.numel() // module.out_features
        else:
            linears[module.weight[0].numel(), module.out_channels] += output[0, 0].numel()

    layers = [module for module in network.modules() if isinstance(module, (nn.Linear, nn.Conv3d))]
    hooks = [layer.register_forward_hook(seen) for layer in layers]
    hooks += [
        block.register_forward_hook(attended(attention), with_kwargs=True)
        for name, block in network.named_modules()
        if name.endswith((".attn1", ".attn2"))
    ]
    with FlopCounterMode(display=False) as counter:
        plain_step(backbone, latents, 1)()
    for hook in hooks:
        hook.remove()
    products = sum(2 * inputs * outputs * rows for (inputs, outputs), rows in linears.items())
    return SampleFlops(products + attention["flop"], counter.get_total_flops(), linears)


def attended(total: Counter[str]) -> Callable[..., None]:
    """A hook that adds an attention layer's 4 x queries x keys x width to `total`."""

    def seen(module: Any, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        queries = named.get("hidden_states", given[0] if given else None)
        keys = named.get("encoder_hidden_states", given[1] if len(given) > 1 else None)
        assert queries is not None
        keys = queries if keys is None else keys
        total["flop"] += 4 * queries.shape[1] * keys.shape[1] * module.to_q.out_features

    return seen


def ceilings(
    sample: SampleFlops, batch: int, device: torch.device, each_s: float = 0.5, side: int = 0
) -> dict[str, float]:
    """FLOP a second of a large square product, and of the network's linear layers weighted by their FLOP.

    Every layer's product is repeated for `each_s`, the square one, of `side` or else `SQUARE`, for four times as long.
    """
    flop = {shape: 2 * shape[0] * shape[1] * rows for shape, rows in sample.linears.items()}
    large = [shape for shape in flop if flop[shape] > 0.01 * sum(flop.values())]
    seconds = sum(
        flop[shape] / product_rate((batch * sample.linears[shape], *shape), device, torch.bfloat16, each_s)
        for shape in large
    )
    side = side or SQUARE[device.type]
    return {
        f"square of {side}": product_rate((side, side, side), device, torch.bfloat16, 4 * each_s),
        "linear layers": sum(flop[shape] for shape in large) / seconds,
    }
