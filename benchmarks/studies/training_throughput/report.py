"""What was found, for people."""

import torch

from worldmodel.benchmarks.studies.training_throughput.timing import MOST
from worldmodel.measure.report import Record, table_of

GOAL = 0.45


def text_of(found: Record, size: str, device: str) -> str:
    """The table for people, the ceilings and the verdict."""
    lines = [line_of(row) for row in found["rows"]]
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in found["ceilings_tflop_per_s"].items())
    facts = [
        f"{size}: {found['parameters'] / 1e6:.0f} M parameters in float32, bf16 autocast, {found['tokens']} tokens a "
        f"sample, random weights, on {device}.",
        table_of(lines),
        f"bf16 matrix products, TFLOP/s: {rates}; the larger one is the ceiling. A step is "
        f"{found['step_tflop_per_sample']:.3g} TFLOP a sample; torch's counter finds "
        f"{found['counted_over_formula']:.3f} times that.",
        *(f"Best FlowFrames step over {what}: {ratio:.2f} × samples/s." for what, ratio in found["ratios"].items()),
        *found["skipped"],
    ]
    best = max(row.get("of_ceiling", 0.0) for row in found["rows"] if row["what"].startswith("FlowFrames"))
    if not found["skipped"]:
        facts.append(f"Goal, at least {GOAL:.0%} of the ceiling: {best:.1%}, {'met' if best >= GOAL else 'missed'}.")
    return "\n\n".join(["# Training throughput", *facts])


def line_of(row: Record) -> dict[str, str]:
    """One row of the table; dashes where nothing fitted."""
    formats = {
        "step_s": ("s a step ↓", "{:.3f}"), "samples_per_s": ("samples/s ↑", "{:.2f}"),
        "tokens_per_s": ("tokens/s ↑", "{:.0f}"), "tflop_per_s": ("TFLOP/s ↑", "{:.3g}"),
        "of_ceiling": ("of the ceiling ↑", "{:.1%}"), "peak_gb": ("peak GB ↓", "{:.1f}"),
    }  # fmt: skip
    cells = {title: shape.format(row[key]) if key in row else "-" for key, (title, shape) in formats.items()}
    return {"what": row["what"], "batch": str(row["batch"] or "does not fit")} | cells


def skipped(device: torch.device, compiles: bool) -> list[str]:
    """What this device cannot say, a sentence each."""
    lines = []
    if device.type != "cuda":
        lines.append(
            "No CUDA device: the real sizes 2b and 1.3b, doubling the batch until memory runs out and the goal were "
            f"skipped (batch at most {MOST['cpu']}); the peak is the whole process's, over its life."
        )
    if not compiles:
        lines.append("Compiled blocks were skipped (--no-compile).")
    return lines
