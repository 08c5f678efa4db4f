"""The conventional design beside ours: noise flows to the future while the observed chunk is shown to the network."""

from torch import Tensor

from worldmodel.flow.noise import Generators, normal_like
from worldmodel.models.pipeline import FlowFramesPipeline


class NoiseConditionedPipeline(FlowFramesPipeline):
    """Noise flows to the future, the observed chunk is shown at timestep 0.

    As LTXVCondition (paper Fig. 1a): twice the tokens in every evaluation. `generator` draws the noise, on the CPU,
    one or one for each video; None is a fixed seed.
    """

    def _source(self, observed: Tensor, generator: Generators) -> Tensor:
        return normal_like(observed, generator)

    def _conditioning(self, observed: Tensor, batch: int) -> Tensor:
        return observed.repeat(batch // len(observed), 1, 1, 1, 1)  # guidance doubles the batch
