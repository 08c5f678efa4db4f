"""The stages in order of worth, and how long each takes on an H100: all together within eight minutes.

Seconds come from the run of 28 November 2026 (`benchmarks/results/2026-11-28_gpu.jsonl`): a stage's wall time, or,
where it does something else now, the seconds at which its lines came, less the calls that are no longer made. What
nobody has measured, six cameras compiled and Wan compiled, is a guess from the compilations of LTX: 21 s for the first
of a process, about 0.6 of that for a second one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One process.

    Attributes:
        name: of the stage. module: the script in `stages`. rows: what it is told to do.
        seen_s: measured on an H100. The first one's has the imports; the others' run ahead, behind the stage before.
        guess_s: of what was never measured. limit_s: it is ended after so long. proves: what its figures are for.
    """

    name: str
    module: str
    rows: str
    seen_s: float
    guess_s: float
    limit_s: float
    proves: str

    @property
    def seconds(self) -> float:
        """Expected on an H100."""
        return self.seen_s + self.guess_s


STAGES = (
    Stage("ceilings", "ceilings", "", 25.6, 0, 60, "what the card can do: 8192^3 bf16 product, device copy"),
    Stage("memory-ltx", "memory", "flowframes_ltxv,ltxv_condition", 42.2, 0, 70,
          "Table 1, LTX rows: k of FlowFrames over k of LTXVCondition against 0.50"),
    Stage("latency-ltx", "latency", "ltx,eager,kernels,graph,graph_six", 22.5, 0, 50,
          "17 -> 17 end to end against 60 ms, by stage"),
    Stage("latency-ltx-compiled", "latency", "ltx,compiled,compiled_six,compiled_vae", 89.3, 18, 140,
          "the same compiled, as CUDA graphs, six cameras, then with the VAE compiled too"),
    Stage("training", "training", "", 59.4, 0, 110,
          "LTX 2B: share of the measured ceiling against 50 %, and samples/s against plain diffusers"),
    Stage("memory-wan", "memory", "flowframes_wan,causvid,self_forcing", 47.4, 0, 75,
          "Table 1, Wan rows: k of FlowFrames over k of CausVid against 0.52"),
    Stage("latency-wan", "latency", "wan,eager,kernels,graph", 33.2, 0, 60, "the same for Wan 2.1 1.3B"),
    Stage("latency-wan-compiled", "latency", "wan,compiled,compiled_six", 23.1, 34, 90,
          "Wan compiled, with one camera and six"),
    Stage("latency-beside", "latency", "beside,one", 19.0, 0, 45, "LTXVCondition at 40 evaluations"),
    Stage("memory-svd", "memory", "vista,gem", 49.7, 0, 80, "Table 1, Vista's and GEM's rows"),
    Stage("engines", "engines", "", 0, 2, 20, "whether ONNX Runtime's CUDA provider and TensorRT are there"),
)  # fmt: skip


def chosen(names: str) -> list[Stage]:
    """By their names, in the plan's order; all where none is named. Raises `SystemExit` for an unknown one."""
    wanted = [name for name in names.split(",") if name]
    unknown = set(wanted) - {stage.name for stage in STAGES}
    if unknown:
        raise SystemExit(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in STAGES)}")
    return [stage for stage in STAGES if not wanted or stage.name in wanted]
