"""The trainings that are compared: equal data, steps, batch, learning rate, seeds; what differs is said here."""

from dataclasses import dataclass, replace
from pathlib import Path

from worldmodel.measure.report import Record
from worldmodel.training import DataConfig, OptimizerConfig, TrainConfig

VARIANTS: dict[str, Record] = {
    "from scratch, inherent + inversion": {"from_scratch": True},
    "fine-tuned, independent": {"objective": "independent"},
    "fine-tuned, inherent": {"rho": 0.0},
    "fine-tuned, inherent + inversion": {},
    "fine-tuned, noise-conditioned": {"objective": "noise_conditioned"},
}
"""Name -> settings beside the common ones: the paper's three ablations, its method, and the conventional design."""


@dataclass(frozen=True)
class Budget:
    """What every variant gets.

    Attributes:
        steps, batch_size: of the optimiser. lr: its highest learning rate. seeds: so many runs of each variant.
        inversion_steps: of RF-Solver. scored: how many checkpoints of a run are scored, evenly spread.
    """

    steps: int = 400
    batch_size: int = 8
    lr: float = 5e-4
    seeds: int = 3
    inversion_steps: int = 10
    scored: int = 4

    @property
    def save_every(self) -> int:
        """Steps between two scored checkpoints."""
        return self.steps // self.scored


def runs(root: Path, work: Path, base: str, budget: Budget) -> dict[tuple[str, int], TrainConfig]:
    """Every run by variant and seed, seed by seed, so that an unfinished benchmark has whole seeds."""
    common = TrainConfig(
        DataConfig(
            str(root), "v1.0-toy", size=(128, 192), stride=34, decode_once=True, store=str(work / "store"), workers=2
        ),
        pretrained=base,
        optimizer=OptimizerConfig(lr=budget.lr, warmup=20, ema=0.99),
        steps=budget.steps,
        batch_size=budget.batch_size,
        inversion_steps=budget.inversion_steps,
        save_every=budget.save_every,
        keep=budget.scored,
        trackers=(),
        device="cpu",
    )
    return {
        (name, seed): replace(common, seed=seed, out=str(work / f"run{number}-seed{seed}"), **VARIANTS[name])
        for seed in range(budget.seeds)
        for number, name in enumerate(VARIANTS)
    }
