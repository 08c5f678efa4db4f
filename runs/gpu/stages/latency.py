"""17 observed frames to 17 future ones: seconds by stage, for one camera and six; eager, compiled, as CUDA graphs.

Sizes, steps and guidance are the paper's (Table 4), weights random in bf16. LTXVCondition at 40 evaluations is beside
LTX. Each way is measured twice: with every stage waited for, and only as a whole.
"""

import statistics
from collections.abc import Callable
from typing import Any

from device_kernels import write_kernels
from graphs import graphed
from stage import Lines, Settings, begin, torch

from worldmodel.benchmarks.methods.method import Method, SeededNoise
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.suites import latency, volumes
from worldmodel.benchmarks.suites.config import CostConfig
from worldmodel.benchmarks.suites.stages import now, wrapped_stages

CAMERAS = (1, 6)
RUNS = {1: 5, 6: 2}
ROWS = {"ltx": "flowframes_ltxv", "wan": "flowframes_wan"}
COMPILE_S = 45.0  # kept for one more compilation


def work(lines: Lines, settings: Settings) -> None:
    """The parts that are asked for behind the family's name, in that order."""
    torch._dynamo.config.automatic_dynamic_shapes = False  # each number of cameras is compiled as it is
    family, *parts = settings.rows
    way = Ways(lines, settings, opened(ROWS[family], settings), ROWS[family])
    for part in parts:
        with lines.guard("latency", row=way.row, way=part):
            getattr(way, part)()


class Ways:
    """One method in several ways."""

    def __init__(self, lines: Lines, settings: Settings, method: Method, row: str) -> None:
        self.lines, self.settings, self.method, self.row = lines, settings, method, row
        self.family = next((family for family, of in ROWS.items() if of == row), row)

    def eager(self) -> None:
        """As it comes, and the VAE given all cameras at once."""
        for cameras in CAMERAS:
            self.measure("eager", cameras, RUNS[cameras])
        self.measure_at_once(CAMERAS[-1])

    def kernels(self) -> None:
        """Where the time of one evaluation, of encoding and of decoding goes."""
        for of in ("transformer", "encode", "decode"):
            with self.lines.guard("kernels", of=f"{self.family} {of}"):
                write_kernels(self.lines, f"{self.family} {of}", stage_call(self.method, of), self.method.device)

    def graph(self) -> None:
        """Nothing compiled."""
        with torch.compiler.set_stance("force_eager"), graphed(self.method.networks, self.method.device):
            for cameras in CAMERAS[: 1 if self.settings.small else None]:
                self.measure("CUDA graph", cameras, RUNS[cameras])

    def beside(self) -> None:
        """LTXVCondition at the paper's 256 x 256, and at FlowFrames' size."""
        row = "ltxv_condition"
        for given in ({},) if self.settings.small else ({}, {"size": (256, 384)}):
            with self.lines.guard("latency", row=row, way="eager"):
                Ways(self.lines, self.settings, opened(row, self.settings, given), row).measure("eager", 1, 1)

    def measure(self, way: str, cameras: int, runs: int = 5) -> None:
        """Stages and the whole, of so many cameras."""
        with self.lines.guard("latency", row=self.row, way=way, cameras=cameras):
            small = self.settings.small
            config = CostConfig(runs=1 if small else runs, warmup=0 if small else 2, clips=cameras)
            found = latency.measure(self.method, config, self.method.device).figures(self.method)
            observed = latency.random_frames(self.method, cameras, self.method.device)

            def call() -> None:
                self.method.run(observed, SeededNoise(range(cameras)))

            self._write(way, cameras, median_s(call, self.method.device, config.runs), found)

    def measure_at_once(self, cameras: int) -> None:
        """The VAE given all cameras in one batch, which takes more memory."""
        with self.lines.guard("latency", row=self.row, way="eager, VAE at once", cameras=cameras):
            method: Any = self.method
            observed = latency.random_frames(method, cameras, method.device) / 2 + 0.5

            def call() -> None:
                options = method.options
                method.pipeline(
                    observed, num_inference_steps=options.steps, frame_rate=options.frame_rate,
                    vae_batch_size=None, **method._prompts,
                )  # fmt: skip

            self._write(
                "eager, VAE at once", cameras, median_s(call, method.device, 1 if self.settings.small else 3), {}
            )

    def compiled(self) -> None:
        """Blocks compiled, then as graphs too; the VAE as well and six cameras, if there is time."""
        if not self.settings.compiles(COMPILE_S):
            self.lines.write("latency", row=self.row, way="compiled", skipped=f"{self.settings.left_s:.0f} s are left")
            return
        latency.compile_blocks(self.method.networks)
        self.measure("compiled", CAMERAS[0])
        with graphed(self.method.networks, self.method.device):
            self.measure("compiled, CUDA graph", CAMERAS[0])
        if self.settings.compiles(COMPILE_S):
            self.compiled_vae()
        if not self.settings.compiles(COMPILE_S):
            self.lines.write("latency", row=self.row, way="compiled", cameras=CAMERAS[-1], skipped="no time is left")
            return
        self.measure("compiled", CAMERAS[-1])
        with graphed(self.method.networks, self.method.device):
            self.measure("compiled, CUDA graph", CAMERAS[-1], 3)

    def compiled_vae(self) -> None:
        """The VAE's halves compiled beside the blocks, cuDNN choosing its kernels by trial."""
        vae: Any = self.method.networks["vae"]
        torch.backends.cudnn.benchmark = True
        with graphed(self.method.networks, self.method.device):
            self.measure("compiled, CUDA graph, cuDNN by trial", CAMERAS[0])
        vae.encoder.compile()
        vae.decoder.compile()
        with graphed(self.method.networks, self.method.device):
            self.measure("VAE compiled too, CUDA graph", CAMERAS[0])

    def _write(self, way: str, cameras: int, whole_s: float, figures: dict[str, Any]) -> None:
        spec = self.method.spec
        stages = {f"{name.replace(' ', '_')}_ms": round(1e3 * one.value, 3) for name, one in figures.items()}
        stages.pop("times_real_time_ms", None)
        self.lines.write(
            "latency", row=self.row, way=way, cameras=cameras, end_to_end_ms=round(1e3 * whole_s, 3),
            size=list(spec.size), frames=spec.observed_frames, nfe=spec.nfe, dtype=self.settings.dtype, **stages,
        )  # fmt: skip


def opened(label: str, settings: Settings, given: dict[str, Any] | None = None) -> Method:
    """As Table 4 runs it."""
    told = {"dtype": settings.dtype, "device": str(settings.device)} | (given or {})
    options = volumes.options_at(label, None, settings.small, True, told)
    return open_method(volumes.method_of(label), options)


def stage_call(method: Method, stage: str) -> Callable[[], Any]:
    """What runs one stage alone, on the arguments that a prediction gave it."""
    seen: dict[str, Callable[[], Any]] = {}

    def wrap(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def noted(*given: Any, **named: Any) -> Any:
            seen[name] = lambda: call(*given, **named)
            return call(*given, **named)

        return noted

    with wrapped_stages(method.networks, wrap):
        method.run(latency.random_frames(method, 1, method.device), SeededNoise([0]))
    return torch.no_grad()(seen[stage])


def median_s(call: Callable[[], Any], device: torch.device, runs: int) -> float:
    """Of `runs` calls, each waited for as a whole, after one that is not counted."""
    taken = []
    for _ in range(runs + 1):
        began = now(device)
        call()
        taken.append(now(device) - began)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    begin(work)
