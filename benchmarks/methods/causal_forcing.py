"""Causal-Forcing: Wan 2.1 1.3B distilled into four steps a block from a causal teacher, run causally.

Sources: Zhu et al. 2026 (arXiv 2602.02214) and the page of its code and weights. Published are the chunk-wise network's
file, its licence, that its inference is Self-Forcing's, and of its `causal_forcing_dmd_chunkwise.yaml` the steps, their
warping by a shift of 5 and blocks of 3 latents. Its inference reads `generator`, not the averaged weights. Inferred is
what it shares with Self-Forcing: keys and layout of the file. It is not in the FlowFrames paper's tables, so the size,
the blocks of 5 and the 17 + 17 frames are those of its neighbours there.
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

CAUSAL_FORCING = Recipe(
    "causal_forcing",
    FewSteps(listed=(1000, 750, 500, 250), shift=5.0, warp=True),
    entry="generator",
    where="download chunkwise/causal_forcing.pt from huggingface.co/zhuhz22/Causal-Forcing",
    licences=Licences("Apache-2.0 (Causal-Forcing; re-implemented here)", "Apache-2.0 by its page"),
    remarks=(
        "Not in the paper's tables; run as Self-Forcing is, whose inference its authors name as theirs.",
        "Inferred, for want of the file: that its keys are Self-Forcing's.",
    ),
)


@dataclass(frozen=True)
class CausalForcingOptions(CausalOptions):
    """See `CausalOptions`; `block=3` is the mode that the network was trained in (NFE 11)."""

    weights: Text = "chunkwise/causal_forcing.pt"


def load_causal_forcing(options: CausalForcingOptions) -> CausalPrediction:
    """See `load_causal_prediction`."""
    return load_causal_prediction(CAUSAL_FORCING, options)
