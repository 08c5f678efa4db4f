"""17 observed frames to 17 future ones: seconds by stage, for one camera and six; eager, compiled, as CUDA graphs.

Sizes, steps and guidance are the paper's (Table 4), weights random in bf16. LTXVCondition at 40 evaluations is beside
LTX, at the size of FlowFrames. Each way is measured twice: with every stage waited for, and only as a whole.
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
from worldmodel.measure.timing import now, wrapped_stages
from worldmodel.models.families import LTX
from worldmodel.pixels import unit_from_signed

CAMERAS, SMALL_CAMERAS = (1, 6), (1, 2)
RUNS = {1: 3, 6: 1}  # six cameras take seconds, beside which runs hardly differ
WARM_UP = {1: 2, 6: 1}
ROWS = {"ltx": "flowframes_ltxv", "wan": "flowframes_wan", "beside": "ltxv_condition"}
COMPILE_S = {"compiled": 25.0, "compiled_six": 20.0, "compiled_vae": 55.0}
"""Kept for what a part compiles: an H100 took 21 for the blocks and 55 for the VAE."""


def work(lines: Lines, settings: Settings) -> None:
    """The parts that are asked for behind the family's name, in that order."""
    torch._dynamo.config.automatic_dynamic_shapes = False  # each number of cameras is compiled as it is
    family, *parts = settings.rows
    way = Ways(lines, settings, opened(ROWS[family], settings), family)
    for part in parts:
        with lines.guard("latency", row=way.row, way=part):
            way.part(part)


class Ways:
    """One method in several ways."""

    def __init__(self, lines: Lines, settings: Settings, method: Method, family: str) -> None:
        self.lines, self.settings, self.method = lines, settings, method
        self.family, self.row = family, ROWS[family]
        self.cameras = SMALL_CAMERAS if settings.small else CAMERAS

    def part(self, name: str) -> None:
        """One of the methods below; what would compile only where there is time."""
        if name in COMPILE_S and not self.settings.compiles(COMPILE_S[name]):
            self.lines.write("latency", row=self.row, way=name, skipped=f"{self.settings.left_s:.0f} s are left")
        else:
            getattr(self, name)()

    def eager(self) -> None:
        """As it comes, and the VAE given all cameras at once."""
        for cameras in self.cameras:
            self.measure("eager", cameras)
        self.measure_at_once(self.cameras[-1])

    def kernels(self) -> None:
        """Where the time of one evaluation, of encoding and of decoding goes."""
        for of in ("transformer", "encode", "decode"):
            with self.lines.guard("kernels", of=f"{self.family} {of}"):
                write_kernels(self.lines, f"{self.family} {of}", stage_call(self.method, of), self.method.device)

    def graph(self) -> None:
        """Nothing compiled."""
        with torch.compiler.set_stance("force_eager"):
            self.as_graphs("CUDA graph", self.cameras[0])

    def graph_six(self) -> None:
        """The same, all cameras."""
        with torch.compiler.set_stance("force_eager"):
            self.as_graphs("CUDA graph", self.cameras[-1])

    def one(self) -> None:
        """One camera, once: forty evaluations take seconds."""
        self.measure("eager", 1, 1, 1)

    def as_graphs(self, way: str, cameras: int) -> None:
        """The networks as CUDA graphs."""
        with graphed(self.method.networks, self.method.device):
            self.measure(way, cameras)

    def measure(self, way: str, cameras: int, runs: int = 0, warm_up: int = 0) -> None:
        """Stages and the whole, of so many cameras."""
        with self.lines.guard("latency", row=self.row, way=way, cameras=cameras):
            small = self.settings.small
            runs, warm_up = (1, 0) if small else (runs or RUNS[cameras], warm_up or WARM_UP[cameras])
            config = CostConfig(runs=runs, warmup=warm_up, clips=cameras)
            found = latency.measure(self.method, config, self.method.device).figures(self.method)
            observed = latency.random_frames(self.method, cameras, self.method.device)

            def call() -> None:
                self.method.run(observed, SeededNoise(range(cameras)))

            self._write(way, cameras, median_s(call, self.method.device, runs, 0), found)

    def measure_at_once(self, cameras: int) -> None:
        """The VAE given all cameras in one batch, which takes more memory."""
        with self.lines.guard("latency", row=self.row, way="eager, VAE at once", cameras=cameras):
            method: Any = self.method
            observed = unit_from_signed(latency.random_frames(method, cameras, method.device))

            def call() -> None:
                options = method.options
                method.pipeline(
                    observed, num_inference_steps=options.steps, frame_rate=options.frame_rate,
                    vae_batch_size=None, **method._prompts,
                )  # fmt: skip

            runs, warm_up = (1, 0) if self.settings.small else (RUNS[cameras], WARM_UP[cameras])
            self._write("eager, VAE at once", cameras, median_s(call, method.device, runs, warm_up), {})

    def compiled(self) -> None:
        """Blocks compiled, then as graphs too."""
        latency.compile_blocks(self.method.networks)
        self.measure("compiled", self.cameras[0])
        self.as_graphs("compiled, CUDA graph", self.cameras[0])

    def compiled_six(self) -> None:
        """Behind `compiled`: the blocks are compiled once more, for all cameras."""
        self.measure("compiled", self.cameras[-1])

    def compiled_vae(self) -> None:
        """Behind the others: the VAE's halves compiled as well. Cameras go through it one by one, so it is once."""
        vae: Any = self.method.networks["vae"]
        vae.encoder.compile()
        vae.decoder.compile()
        for cameras in self.cameras:
            self.as_graphs("VAE compiled too, CUDA graph", cameras)

    def _write(self, way: str, cameras: int, whole_s: float, figures: dict[str, Any]) -> None:
        spec = self.method.spec
        stages = {f"{name.replace(' ', '_')}_ms": round(1e3 * one.value, 3) for name, one in figures.items()}
        stages.pop("times_real_time_ms", None)
        self.lines.write(
            "latency", row=self.row, way=way, cameras=cameras, end_to_end_ms=round(1e3 * whole_s, 3),
            size=list(spec.size), frames=spec.observed_frames, nfe=spec.nfe, dtype=self.settings.dtype, **stages,
        )  # fmt: skip


def opened(label: str, settings: Settings) -> Method:
    """As Table 4 runs it; the method beside at the size of FlowFrames."""
    told: dict[str, Any] = {"dtype": settings.dtype, "device": str(settings.device)}
    if label == ROWS["beside"]:
        told |= {} if settings.small else {"size": LTX.chunk[1]}
    elif settings.small:
        told |= {"frames": 9}
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


def median_s(call: Callable[[], Any], device: torch.device, runs: int, warm_up: int) -> float:
    """Of `runs` calls, each waited for as a whole, after `warm_up` that are not counted."""
    taken = []
    for _ in range(warm_up + runs):
        began = now(device)
        call()
        taken.append(now(device) - began)
    return statistics.median(taken[warm_up:])


if __name__ == "__main__":
    begin(work, compiles=True)
