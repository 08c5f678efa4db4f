"""CausVid: Wan 2.1 1.3B distilled into three steps a block, run causally.

Sources: Yin et al. 2025; paper Table 2 and 4 (480x832, block 5, NFE 5 = 1 for the given block + 3 + 1);
the published `wan_causal_dmd.yaml` for the steps. Its code is re-implemented here, not copied.
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

CAUSVID = Recipe(
    "causvid",
    FewSteps(listed=(1000, 757, 522), shift=8.0, warp=False),
    entry="generator",
    where="download autoregressive_checkpoint/model.pt from huggingface.co/tianweiy/CausVid",
    licences=Licences("CC BY-NC-SA 4.0 (CausVid; re-implemented here)", "CC BY-NC 4.0: non-commercial use only"),
)


@dataclass(frozen=True)
class CausVidOptions(CausalOptions):
    """See `CausalOptions`; `block=3` is the mode that the network was trained in (NFE 9)."""

    weights: Text = "autoregressive_checkpoint/model.pt"


def load_causvid(options: CausVidOptions) -> CausalPrediction:
    """See `load_causal_prediction`."""
    return load_causal_prediction(CAUSVID, options)
