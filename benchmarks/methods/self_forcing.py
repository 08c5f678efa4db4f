"""Self-Forcing: Wan 2.1 1.3B distilled into four steps a block, run causally.

Sources: Huang et al. 2025; paper Table 4 (480x832, block 5, NFE 6 = 1 for the given block + 4 + 1); the published
`self_forcing_dmd.yaml` for the steps. The published inference reads the averaged weights, `generator_ema`.
"""

from dataclasses import dataclass

from worldmodel.benchmarks.methods.causal_prediction import (
    CausalOptions,
    CausalPrediction,
    Recipe,
    load_causal_prediction,
)
from worldmodel.benchmarks.methods.causal_wan import FewSteps
from worldmodel.benchmarks.methods.method import Licences
from worldmodel.settings import Text

SELF_FORCING = Recipe(
    "self_forcing",
    FewSteps(listed=(1000, 750, 500, 250), shift=5.0, warp=True),
    entry="generator_ema",
    where="download checkpoints/self_forcing_dmd.pt from huggingface.co/gdhe17/Self-Forcing",
    licences=Licences("Apache-2.0 (Self-Forcing)", "not stated by its authors as far as we know; derived from Wan 2.1"),
)


@dataclass(frozen=True)
class SelfForcingOptions(CausalOptions):
    """See `CausalOptions`; `block=3` is the mode that the network was trained in (NFE 11)."""

    weights: Text = "checkpoints/self_forcing_dmd.pt"


def load_self_forcing(options: SelfForcingOptions) -> CausalPrediction:
    """See `load_causal_prediction`."""
    return load_causal_prediction(SELF_FORCING, options)
