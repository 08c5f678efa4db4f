"""The tables of a GPU's figures, each beside what the paper published. None of the published ones was measured here."""

from collections.abc import Iterator
from typing import Any

from worldmodel.benchmarks.published import MEMORY
from worldmodel.benchmarks.suites.memory import Point, line
from worldmodel.measure.report import table_of

Line = dict[str, Any]
PAIRS = (("flowframes_ltxv", "ltxv_condition"), ("flowframes_wan", "causvid"))
REAL_TIME_MS, GOAL_OF = 60.0, ("flowframes_ltxv", 1)  # of 17 to 17 frames, what is aimed at
TRAINING_GOAL = 0.50


def sections(lines: list[Line]) -> Iterator[tuple[str, str]]:
    """Title and text, empty where nothing was measured."""
    yield "Memory (Table 1)", memory(lines)
    yield "Latency, 17 to 17 frames", latency(lines)
    yield "Training step", training(lines)
    yield "Where the time goes", kernels(lines)
    yield "The tiny model", "\n".join(f"- {one['what']}: {said(one)}" for one in of(lines, stage="train_tiny"))
    yield "Engines", "\n".join(f"- {one['what']}: {said(one)}" for one in of(lines, stage="engines"))
    yield "Left out, cut or failed", failures(lines)


def headline(lines: list[Line]) -> str:
    """The figures that people ask for, with the goal or the published one beside."""
    rows = [*_ratios(lines), *_fastest(lines), *_training(lines)]
    device = next(iter(of(lines, stage="ceilings", what="device")), {})
    product = next(iter(of(lines, stage="ceilings", what="product")), {})
    copy = next(iter(of(lines, stage="ceilings", what="copy")), {})
    text = f"On {device.get('name', 'an unknown device')}"
    if "tflop_per_s" in product:
        text += f", {product['side']}^3 bf16 product {product['tflop_per_s']:.4g} TFLOP/s"
    if "gb_per_s" in copy:
        text += f", copy {copy['gb_per_s']:.4g} GB/s"
    return f"{text}; random weights, bf16.\n\n" + (table_of(rows) if rows else "No figure.")


def _ratios(lines: list[Line]) -> Iterator[Line]:
    fitted = {one["row"]: one for one in of(lines, what="line") if "k_above_weights" in one}
    for ours, other in PAIRS:
        if ours in fitted and other in fitted:
            ratio = fitted[ours]["k_above_weights"] / fitted[other]["k_above_weights"]
            published = MEMORY[ours].k / MEMORY[other].k
            yield _row(f"memory slope, {ours} / {other}", f"{ratio:.2f}", f"{published:.2f} (published)")


def _fastest(lines: list[Line]) -> Iterator[Line]:
    for row in ("flowframes_ltxv", "flowframes_wan"):
        for cameras in (1, 6):
            found = [one for one in of(lines, what="latency", row=row, cameras=cameras) if "end_to_end_ms" in one]
            if found:
                best = min(found, key=lambda one: one["end_to_end_ms"])
                what = f"17 to 17 frames, {row}, {cameras} camera{'s' * (cameras > 1)}, {best['way']}"
                goal = f"{REAL_TIME_MS:.0f} ms (goal)" if (row, cameras) == GOAL_OF else "-"
                yield _row(what, f"{best['end_to_end_ms']:.1f} ms", goal)


def _training(lines: list[Line]) -> Iterator[Line]:
    found = [one for one in of(lines, what="row") if "of_ceiling" in one and one["of"].startswith("FlowFrames")]
    if found:
        best = max(found, key=lambda one: one["of_ceiling"])
        goal = f"{TRAINING_GOAL:.0%} (goal)"
        yield _row(f"training, {best['of']}, batch {best['batch']}", f"{best['of_ceiling']:.1%} of the ceiling", goal)


def _row(what: str, here: str, beside: str) -> Line:
    return {"what": what, "here": here, "beside": beside}


def memory(lines: list[Line]) -> str:
    """k and b of every row, and in which stage memory was highest."""
    rows = []
    for one in of(lines, what="line"):
        volumes = sorted(of(lines, what="volume", row=one["row"]), key=lambda line: line.get("volume", 0))
        volumes = [line for line in volumes if "peak_mb" in line]
        published = MEMORY.get(one["row"])
        rows.append({
            "row": one["row"], "volumes": one["volumes"],
            "k above weights": f"{one['k_above_weights']:.0f}", "b above weights": f"{one['b_above_weights']:.0f}",
            "k without encoding": f"{without_encoding(volumes):.0f}",
            "k of the peak": f"{one['k_peak']:.0f}", "b of the peak": f"{one['b_peak']:.0f}",
            "peak at the largest": f"{volumes[-1]['peak_mb']:.0f} in {volumes[-1]['stage_of_peak']}",
            "k published": f"{published.k:.0f}" if published else "-",
            "b published": f"{published.b:.0f}" if published else "-",
        })  # fmt: skip
    note = "MB (10^6 bytes) per 10^6 latent numbers of the observed chunk, and MB. Published: FlowFrames, Table 1."
    return f"{table_of(rows)}\n\n{note}" if rows else ""


def without_encoding(volumes: list[Line]) -> float:
    """The slope of what lies above the weights, encoding left out of the measurement as in the memory suite."""
    return line([point_of(one).without_encoding() for one in volumes], "above_mb")[0]


def point_of(one: Line) -> Point:
    """The memory suite's point that a volume's line was written from."""
    stages = {name.removesuffix("_mb"): value for name, value in one.items() if name.endswith("_mb")}
    peak, above = stages.pop("peak"), stages.pop("above")
    stages.pop("weights", None)
    return Point(one["volume"], peak, above, stages)


def latency(lines: list[Line]) -> str:
    """Every way, by stage."""
    columns = ("encode_ms", "evaluations_ms", "one_evaluation_ms", "decode_ms", "end_to_end_ms")
    rows = []
    for one in of(lines, what="latency"):
        if "end_to_end_ms" in one:
            cells = {name.removesuffix("_ms").replace("_", " "): _ms(one.get(name)) for name in columns}
            size = "x".join(map(str, one["size"]))
            rows.append({"row": one["row"], "size": size, "NFE": one["nfe"], "way": one["way"],
                         "cameras": one["cameras"], **cells})  # fmt: skip
    note = "Milliseconds, medians; the stages are waited for one by one, end to end is not."
    return f"{table_of(rows)}\n\n{note}" if rows else ""


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def training(lines: list[Line]) -> str:
    """Rates of every way to train."""
    rows = [
        {"what": one["of"], "batch": one["batch"], "s a step": f"{one['step_s']:.3f}",
         "samples/s": f"{one['samples_per_s']:.1f}", "TFLOP/s": f"{one['tflop_per_s']:.0f}",
         "of the ceiling": f"{one.get('of_ceiling', 0):.1%}", "peak GB": f"{one['peak_gb']:.1f}"}
        for one in of(lines, what="row") if "step_s" in one
    ]  # fmt: skip
    rates = next((one["tflop_per_s"] for one in of(lines, stage="training", what="ceilings")), {})
    note = "bf16 products, TFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    return f"{table_of(rows)}\n\n{note}; the larger is the ceiling." if rows else ""


def kernels(lines: list[Line]) -> str:
    """How busy the device was, and its longest kernels."""
    parts = []
    for whole in of(lines, what="kernels"):
        if "busy_ms" not in whole:
            continue
        top = [one for one in of(lines, what="kernel", of=whole["of"]) if "ms" in one]
        rows = [{"kernel": f"`{one['name']}`", "calls": one["calls"], "ms": f"{one['ms']:.3f}",
                 "share": f"{one['share']:.1%}"} for one in top[:12]]  # fmt: skip
        busy = f"{whole['of']}: {whole['wall_ms']:.2f} ms, in {whole['calls']} kernels of {whole['busy_ms']:.2f} ms."
        parts.append(f"{busy}\n\n{table_of(rows)}" if rows else busy)
    return "\n\n".join(parts)


def failures(lines: list[Line]) -> str:
    """What is missing, and why."""
    found = []
    for one in lines:
        why = one.get("error") or one.get("skipped") or one.get("absent")
        if why is None and one.get("how", "finished") != "finished":
            why = one["how"]
        if why:
            which = ", ".join(str(one[key]) for key in ("row", "which", "of", "way", "cameras") if key in one)
            found.append(f"- {one['stage']}, {one['what']}{f' ({which})' if which else ''}: {why}")
    return "\n".join(found)


def said(line: Line) -> str:
    """A line's own figures, in words."""
    return ", ".join(f"{name} {value}" for name, value in line.items() if name not in ("stage", "what", "at_s"))


def of(lines: list[Line], **wanted: Any) -> list[Line]:
    """Those lines that say so."""
    return [one for one in lines if all(one.get(name) == value for name, value in wanted.items())]
