"""What a chip cannot beat, before anyone buys it.

    floor of a part = max(FLOPs / peak rate, bytes / bandwidth)        of a chunk = encoder + steps * step + decoder

Peak rates and bandwidths are published ones (`chips.py`); FLOPs and bytes are counted (`flops.py`). A real engine is
slower: kernels reach a part of the peak, activations are moved as well. So the answer "no" is sure, "yes" is a hope.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from worldmodel.errors import InputError
from worldmodel.export.chips import CHIPS, Chip
from worldmodel.export.flops import work_of_artifact, work_of_family
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest_fields import PrecisionName
from worldmodel.measure.flops import PartWork, base_of
from worldmodel.settings import Count, NotNegative, Positive, Settings, Text


@dataclass(frozen=True)
class BudgetConfig(Settings):
    """A size and how often the step runs; or an artifact.

    Attributes:
        family: ltx (LTX-Video 2B 0.9.5) or wan (Wan 2.1 1.3B).
        frames, height, width: of a chunk; by default 17 of 256x384 (wan 240x416).
        cameras: chunks predicted at once.
        steps: network evaluations a chunk.
        guidance: above 1 each step evaluates two prompts.
        prompt_tokens: of the prompt that is baked in; the empty prompt has one.
        precision: of the step; int8 and fp8 are its linears', on fp16.
        vae_precision: of encoder and decoder.
        frame_rate: frames a second; a chunk must be predicted in the time that it lasts.
        chip: names of chips or parts of them, such as [Orin]; by default all.
        artifact: count this artifact's graphs instead of the published model (frames, size, cameras, guidance and
            precision are its own then).
    """

    family: Literal["ltx", "wan"] = "ltx"
    frames: Count = 17
    height: Count | None = None
    width: Count | None = None
    cameras: Count = 1
    steps: Count = 5
    guidance: NotNegative = 1.0
    prompt_tokens: Count = 1
    precision: PrecisionName = "fp16"
    vae_precision: Literal["fp32", "fp16", "bf16"] = "fp16"
    frame_rate: Positive = 12.0
    chip: tuple[Text, ...] = ()
    artifact: Text | None = None


@dataclass(frozen=True)
class Floor:
    """One chip.

    Attributes:
        seconds: of one run of each part.
        bound: "compute" or "memory" for each part.
        chunk: seconds of a chunk: encoder, all steps, decoder.
        latent_chunk: the same without the encoder, as in a rollout through latents.
        real_time_share: how much of the chip's peak real time needs; above 1 it cannot be.
        weights_gb: of all three parts.
        lacks: the precision that the chip does not have, None where it has all.
    """

    chip: str
    seconds: Mapping[str, float]
    bound: Mapping[str, str]
    chunk: float
    latent_chunk: float
    real_time_share: float
    weights_gb: float
    lacks: str | None = None


@dataclass(frozen=True)
class Job:
    """What is asked of a chip: work, precision and runs a chunk of each part, and the seconds that a chunk lasts."""

    work: Mapping[str, PartWork]
    precision: Mapping[str, str]
    runs: Mapping[str, int]
    lasts: float

    @property
    def flops(self) -> float:
        """Of a chunk."""
        return sum(work.flops * self.runs[part] for part, work in self.work.items())


def job_of(config: BudgetConfig) -> tuple[Job, str]:
    """The work, and a line that says what it is."""
    if config.artifact is not None:
        return _job_of_artifact(config.artifact, config.steps)
    from worldmodel.models.families import FAMILIES  # and torch with it, which an artifact needs not

    _, (height, width) = FAMILIES[config.family].chunk
    size = (config.frames, config.height or height, config.width or width)
    guided = config.guidance > 1
    work = work_of_family(config.family, size, config.cameras, guided, config.prompt_tokens)
    precision = {"encoder": config.vae_precision, "step": config.precision, "decoder": config.vae_precision}
    title = f"{config.family}, {_sized(config.cameras, size)}, {config.steps} steps{', two prompts' * guided}"
    runs = {"encoder": 1, "step": config.steps, "decoder": 1}
    return Job(work, precision, runs, config.frames / config.frame_rate), title


def _job_of_artifact(folder: str, steps: int) -> tuple[Job, str]:
    artifact = Artifact.open(folder)
    manifest = artifact.manifest
    size = (manifest.frames, manifest.height, manifest.width)
    title = f"{folder} ({manifest.family}), {_sized(manifest.cameras, size)}, {steps} steps"
    stages, work = asdict(manifest.precision), work_of_artifact(artifact)
    precision = {part: stages[part.partition("_")[0]] for part in work}
    runs = {part: {"step": steps, "decoder_next": manifest.latents[1] - 1}.get(part, 1) for part in work}
    return Job(work, precision, runs, manifest.frames / manifest.frame_rate), title


def _sized(cameras: int, size: tuple[int, int, int]) -> str:
    return f"{cameras} x {size[0]} frames of {size[1]}x{size[2]}"


def chosen(names: tuple[str, ...]) -> list[Chip]:
    """Chips whose name holds one of these, in the table's order; all for none."""
    for name in names:
        if not any(name.lower() in chip.name.lower() for chip in CHIPS):
            raise InputError(f"chip=[{name}]: choose of {', '.join(chip.name for chip in CHIPS)}")
    return [chip for chip in CHIPS if not names or any(name.lower() in chip.name.lower() for name in names)]


def floor_of(chip: Chip, job: Job) -> Floor:
    """What this chip needs at least."""
    weights = sum(_weight_bytes(work, job.precision[part]) for part, work in job.work.items()) / 1e9
    needed = {number for part in job.work for number in (job.precision[part], base_of(job.precision[part]))}
    lacks = next((number for number in sorted(needed) if chip.rate(number) is None), None)
    if lacks is not None:
        nothing = float("inf")
        return Floor(chip.name, {}, {}, nothing, nothing, nothing, weights, lacks)
    seconds, bound = {}, {}
    for part, work in job.work.items():
        limits = part_limits(chip, work, job.precision[part])
        bound[part], seconds[part] = max(limits.items(), key=lambda limit: limit[1])
    chunk = sum(seconds[part] * job.runs[part] for part in seconds)
    latent = chunk - seconds.get("encoder", 0.0)
    return Floor(chip.name, seconds, bound, chunk, latent, chunk / job.lasts, weights)


def part_limits(chip: Chip, work: PartWork, precision: str) -> dict[str, float]:
    """Seconds that computing and that moving takes at the chip's peak."""
    rate, base = chip.rate(precision), chip.rate(base_of(precision))
    assert rate is not None and base is not None
    computing = work.linear_flops / rate + (work.flops - work.linear_flops) / base
    return {"compute": computing, "memory": work.bytes(precision) / chip.bandwidth}


def _weight_bytes(work: PartWork, precision: str) -> int:
    return work.bytes(precision) - work.io_bytes


def report(title: str, job: Job, floors: list[Floor]) -> str:
    """For people: the work, then a row a chip."""
    parts = list(job.work)
    work = ", ".join(f"{part} {_counted(job.work[part].flops)} ({job.precision[part]})" for part in parts)
    head = ["chip", *(f"{part} ms" for part in parts), "chunk s", "latent rollout s", "of its peak for real time"]
    lines = [
        f"{title}: {_counted(job.flops)}FLOP a chunk: {work}",
        f"real time: a chunk in {job.lasts:.2f} s; weights {floors[0].weights_gb:.3g} GB. Floors at published peaks:",
        "",
        "| " + " | ".join(head) + " |",
        "| --- |" + " --- |" * (len(head) - 1),
        *(_row(floor, parts) for floor in floors),
        "",
        *_known(floors),
    ]
    return "\n".join(lines)


def _counted(flops: float) -> str:
    return f"{flops / 1e12:.3g} T" if flops >= 1e12 else f"{flops / 1e9:.3g} G"


def _known(floors: list[Floor]) -> list[str]:
    """Where the peaks are from, each source once."""
    chips: dict[str, list[str]] = {}
    for chip in CHIPS:
        if any(chip.name == floor.chip for floor in floors):
            chips.setdefault(chip.known, []).append(chip.name)
    return [f"Peaks of {', '.join(names)}: {known}." for known, names in chips.items()]


def _row(floor: Floor, parts: list[str]) -> str:
    if floor.lacks is not None:
        cells = [f"no {floor.lacks}", *["-"] * (len(parts) + 2)]
    else:
        marks = {"compute": "", "memory": " (memory)"}
        cells = [f"{1e3 * floor.seconds[part]:.3g}{marks[floor.bound[part]]}" for part in parts]
        share = f"{100 * floor.real_time_share:.3g} %{' impossible' * (floor.real_time_share > 1)}"
        cells += [f"{floor.chunk:.3g}", f"{floor.latent_chunk:.3g}", share]
    return f"| {floor.chip} | " + " | ".join(cells) + " |"


def headline(job: Job, floors: list[Floor]) -> dict[str, object]:
    """For programs: the work of each part, and what each chip needs at least."""
    return {
        "tflop": {part: round(work.flops / 1e12, 6) for part, work in job.work.items()},
        "chunk_seconds": {floor.chip: round(floor.chunk, 6) for floor in floors if floor.lacks is None},
        "real_time_seconds": round(job.lasts, 4),
    }
