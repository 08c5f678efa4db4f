"""The stages in order of worth, and how long each should take on an H100, from its FLOP.

TFLOP were counted by torch's counter on the meta device; guided evaluations count twice, a training step three
forwards. `RATES` are what such work is expected to reach, in TFLOP/s: matrix products of a transformer in bf16, and the
VAEs' convolutions over time and space, which are far from the ceiling.
"""

from dataclasses import dataclass

RATES = {"transformer": 300.0, "vae": 60.0}


@dataclass(frozen=True)
class Stage:
    """One process.

    Attributes:
        name: of the stage. module: the script in `stages`. rows: what it is told to do.
        tflop: of the networks and of the VAEs. open_s: to draw the weights, and where launches take longer than
            FLOP, as seen on an H100. compile_s: of torch.compile.
        limit_s: it is ended after so long. proves: what its figures are for.
    """

    name: str
    module: str
    rows: str
    tflop: tuple[float, float]
    open_s: float
    compile_s: float
    limit_s: float
    proves: str

    @property
    def seconds(self) -> float:
        """Expected on an H100, start of the process left out, which runs ahead while the stage before is measured."""
        transformer, vae = self.tflop
        return 3.0 + self.open_s + self.compile_s + transformer / RATES["transformer"] + vae / RATES["vae"]


STAGES = (
    Stage("ceilings", "ceilings", "", (600, 0), 20, 0, 60, "what the card can do: 8192^3 bf16 product, device copy"),
    Stage("memory-ltx", "memory", "flowframes_ltxv,ltxv_condition", (1100, 1500), 12, 0, 90,
          "Table 1, LTX rows: k of FlowFrames over k of LTXVCondition against 0.50"),
    Stage("latency-ltx", "latency", "ltx,eager,kernels,graph", (300, 350), 20, 0, 60,
          "17 -> 17 end to end against 60 ms, by stage"),
    Stage("latency-ltx-compiled", "latency", "ltx,compiled", (100, 100), 4, 90, 120,
          "the same compiled, then as CUDA graphs, then with the VAE compiled too"),
    Stage("training", "training", "ltx", (9000, 0), 10, 75, 190,
          "LTX 2B: share of the measured ceiling against 50 %, and samples/s against plain diffusers"),
    Stage("memory-wan", "memory", "flowframes_wan,causvid,self_forcing", (2600, 2900), 16, 0, 100,
          "Table 1, Wan rows: k of FlowFrames over k of CausVid against 0.52"),
    Stage("memory-svd", "memory", "vista,gem", (4500, 2500), 30, 0, 110, "Table 1, Vista's and GEM's rows"),
    Stage("latency-wan", "latency", "wan,eager,kernels,graph", (1600, 1100), 20, 0, 110, "the same for Wan 2.1 1.3B"),
    Stage("latency-beside", "latency", "ltx,beside", (400, 50), 30, 0, 70, "LTXVCondition at 40 evaluations"),
    Stage("latency-wan-compiled", "latency", "wan,compiled", (400, 300), 4, 90, 120, "Wan compiled"),
    Stage("engines", "engines", "", (5, 5), 5, 20, 60, "ONNX Runtime CUDA and TensorRT, where they are there"),
)  # fmt: skip


def chosen(names: str) -> list[Stage]:
    """By their names, in the plan's order; all where none is named. Raises `SystemExit` for an unknown one."""
    wanted = [name for name in names.split(",") if name]
    unknown = set(wanted) - {stage.name for stage in STAGES}
    if unknown:
        raise SystemExit(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in STAGES)}")
    return [stage for stage in STAGES if not wanted or stage.name in wanted]
