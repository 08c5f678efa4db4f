"""Wan 2.1 1.3B distilled into a few steps a block and run causally: CausVid, Self-Forcing, Causal-Forcing.

One recipe each, with the sources that it is from; how they predict is `causal_prediction.py`.
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

# Yin et al. 2025; paper Tables 2 and 4 (480x832, block 5, NFE 5 = 1 for the given block + 3 + 1); the steps are those
# of the published `wan_causal_dmd.yaml`. Its code is re-implemented here, not copied.
CAUSVID = Recipe(
    "causvid",
    FewSteps(listed=(1000, 757, 522), shift=8.0, warp=False),
    entry="generator",
    where="download autoregressive_checkpoint/model.pt from huggingface.co/tianweiy/CausVid",
    licences=Licences("CC BY-NC-SA 4.0 (CausVid; re-implemented here)", "CC BY-NC 4.0: non-commercial use only"),
)

# Huang et al. 2025; paper Table 4 (480x832, block 5, NFE 6 = 1 for the given block + 4 + 1); the steps are those of the
# published `self_forcing_dmd.yaml`. The published inference reads the averaged weights, `generator_ema`.
SELF_FORCING = Recipe(
    "self_forcing",
    FewSteps(listed=(1000, 750, 500, 250), shift=5.0, warp=True),
    entry="generator_ema",
    where="download checkpoints/self_forcing_dmd.pt from huggingface.co/gdhe17/Self-Forcing",
    licences=Licences("Apache-2.0 (Self-Forcing)", "not stated by its authors as far as we know; derived from Wan 2.1"),
)

# Zhu et al. 2026 (arXiv 2602.02214) and the page of its code and weights. Published are the chunk-wise network's file,
# its licence, that its inference is Self-Forcing's, and of its `causal_forcing_dmd_chunkwise.yaml` the steps, their
# warping by a shift of 5 and blocks of 3 latents. Its inference reads `generator`, not the averaged weights. Inferred
# is what it shares with Self-Forcing: keys and layout of the file. It is not in the FlowFrames paper's tables, so the
# size, the blocks of 5 and the 17 + 17 frames are those of its neighbours there.
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
class CausVidOptions(CausalOptions):
    """See `CausalOptions`; `block=3` is the mode that the network was trained in (NFE 9)."""

    weights: Text = "autoregressive_checkpoint/model.pt"


def load_causvid(options: CausVidOptions) -> CausalPrediction:
    """See `load_causal_prediction`."""
    return load_causal_prediction(CAUSVID, options)


@dataclass(frozen=True)
class SelfForcingOptions(CausalOptions):
    """See `CausalOptions`; `block=3` is the mode that the network was trained in (NFE 11)."""

    weights: Text = "checkpoints/self_forcing_dmd.pt"


def load_self_forcing(options: SelfForcingOptions) -> CausalPrediction:
    """See `load_causal_prediction`."""
    return load_causal_prediction(SELF_FORCING, options)


@dataclass(frozen=True)
class CausalForcingOptions(CausalOptions):
    """See `CausalOptions`; `block=3` is the mode that the network was trained in (NFE 11)."""

    weights: Text = "chunkwise/causal_forcing.pt"


def load_causal_forcing(options: CausalForcingOptions) -> CausalPrediction:
    """See `load_causal_prediction`."""
    return load_causal_prediction(CAUSAL_FORCING, options)
