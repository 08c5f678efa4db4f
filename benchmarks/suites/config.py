"""What a benchmark is told."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from worldmodel.conventions import PAPER, PUBLISHED, MemoryProtocol, conventions_of
from worldmodel.errors import InputError
from worldmodel.settings import Count, Counts, Natural, Seed, Settings, Text, within

HORIZON = 3  # chunks; drives of the toy world and scenes of nuScenes hold more
Rows = dict[str, dict[str, Any]]
"""Row's label -> `method`, its name in the registry (the label, where left out), and its options."""


@dataclass(frozen=True)
class CostConfig(Settings, prefix="cost."):
    """For suite=memory and suite=latency.

    Attributes:
        runs: of which the mean (memory) or the median (latency) is given; the paper takes 100.
        warmup: predictions before that are not counted.
        guided: with the guidance of the paper's Table 4, on random prompts; else without, as for an empty prompt.
        compile: torch.compile of the repeated blocks.
        volumes: memory: the paper's five sizes, smallest first, so many of them.
        clips: in one prediction; six is a rig.
        profile: paper takes the sizes of Table 5; small ones that a CPU can do, of the same shape.
        protocol: memory: what is subtracted, which stages count, and what V is, see suites/memory.py; null is
            published where a row asks for conventions=published, else paper.
    """

    runs: Count = 3
    warmup: Natural = 1
    guided: bool = True
    compile: bool = False
    volumes: Annotated[int, within(2, 5, "use 2 to 5, a line needs two points")] = 5
    clips: Count = 1
    profile: Literal["paper", "small"] = "paper"
    protocol: Literal["paper", "published"] | None = None


@dataclass(frozen=True)
class BenchmarkConfig(Settings):
    """One benchmark.

    Attributes:
        suite: quality compares methods over clips; nfe the same over numbers of evaluations; horizon over several
            chunks of a rollout; memory and latency measure cost and need no clips.
        methods: rows of the table; see `Rows`. Empty is the suite's own choice.
        clips: name of a clip list, with or without @version, or its JSON file.
        root: folder of the dataset. version: of a nuScenes-format dataset.
        out: folder of the benchmark.
        metrics: Fréchet distances by their extractors, LPIPS and cross-view; auto is all whose weights are there and
            that the clips allow, but for fid-torchmetrics and fvd-cdfvd; PSNR, SSIM, sharpness and brightness are
            always given.
        references: folder where features of the true frames are kept for the next benchmark; null is in
            $WORLDMODEL_CACHE.
        chunks: of a rollout; null is three for suite=horizon, which needs at least two, and one for the others.
        evaluations: for suite=nfe.
        most_clips: take so many, evenly spread; null is all. It is said in the results.
        resample: how frames are read: area, or vista for LANCZOS from full size; null is vista where a row asks for
            conventions=published, which reads so, else area. All rows are given the same frames.
        video_reader: of openvid-val's videos: pyav, or decord (extra `decord`).
        seed: of every random number; each clip has its own, whatever the process and the order.
        recordings: Rerun recordings of the best, median and worst clip, all methods side by side.
        resume: go on in `out`. overwrite: replace it.
    """

    suite: Literal["quality", "nfe", "horizon", "memory", "latency"] = "quality"
    methods: Rows = field(default_factory=dict)
    clips: Text = "toyworld-val"
    root: Text = "data/toyworld"
    version: Text = "v1.0-toy"
    out: Text = "outputs/benchmark"
    metrics: tuple[Text, ...] = ("auto",)
    references: Text | None = None
    chunks: Count | None = None
    evaluations: Counts = (1, 2, 5, 6, 10, 40)
    most_clips: Annotated[int, within(2, remedy="use at least 2, no Fréchet distance has fewer")] | None = None
    resample: Literal["area", "vista"] | None = None
    video_reader: Literal["pyav", "decord"] = "pyav"
    seed: Seed = 0
    recordings: bool = True
    resume: bool = False
    overwrite: bool = False
    cost: CostConfig = field(default_factory=CostConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.suite == "horizon" and self.rollout == 1:
            raise InputError("suite=horizon, chunks=1: that is suite=quality; give 2 or more chunks")
        if self.resume and self.overwrite:
            raise InputError("resume, overwrite: say one of them")

    @property
    def rollout(self) -> int:
        """Chunks that are predicted after each other."""
        return self.chunks if self.chunks is not None else HORIZON if self.suite == "horizon" else 1

    @property
    def resampling(self) -> Literal["area", "vista"]:
        """How frames are read, decided."""
        return self.resample or conventions_of(self._conventions).sampling.resample

    @property
    def protocol(self) -> str:
        """Name of the memory protocol, decided."""
        return self.cost.protocol or self._conventions

    @property
    def memory_protocol(self) -> MemoryProtocol:
        """What the name stands for."""
        return conventions_of(self.protocol).memory

    @property
    def _conventions(self) -> str:
        published = any(row.get("conventions") == PUBLISHED.name for row in self.methods.values())
        return PUBLISHED.name if published else PAPER.name
