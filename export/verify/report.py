"""`parity.json` and `parity.md`: every comparison, for programs and for people."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldmodel.export.verify.comparison import Comparison, shown_psnr
from worldmodel.measure.report import markdown_table, publish

HEAD = (
    "part",
    "compared",
    "steps",
    "precision",
    "relative L2 ↓",
    "of one, worst ↓",
    "largest ↓",
    "PSNR dB ↑",
    "allowed",
    "",
)


def report(folder: Path, settings: dict[str, Any], comparisons: list[Comparison]) -> None:
    """Write both files into `folder`, print the table and, last, one line of JSON."""
    result = settings | {
        "comparisons": [asdict(comparison) | {"passed": comparison.passed} for comparison in comparisons],
        "passed": all(comparison.passed for comparison in comparisons),
    }
    text = markdown(settings, comparisons)
    files = {folder / "parity.json": json.dumps(result, indent=1) + "\n", folder / "parity.md": text + "\n"}
    publish(text, headline(result, comparisons), files)


def headline(result: dict[str, Any], comparisons: list[Comparison]) -> dict[str, Any]:
    """Relative differences, the worst number of steps of each, and PSNR of predictions by steps (None: equal)."""
    relative: dict[str, float] = {}
    for comparison in comparisons:
        if comparison.relative is not None:
            name = f"{comparison.part} {comparison.what}"
            relative[name] = max(comparison.relative, relative.get(name, 0.0))
    psnr = {comparison.steps: comparison.psnr for comparison in comparisons if comparison.part == "prediction"}
    return {"artifact": result["artifact"], "passed": result["passed"], "relative": relative, "psnr": psnr}


def markdown(settings: dict[str, Any], comparisons: list[Comparison]) -> str:
    """A table with what it was measured on."""
    guided = f", guidance {settings['guidance']:g}" if settings["guidance"] > 1 else ""
    lines = [
        f"# {settings['artifact']} beside its pipeline",
        "",
        f"Checkpoint {settings['checkpoint']} in torch and float32; {settings['backend']} on {settings['device']};"
        f" {settings['samples']} x {settings['cameras']} clips of {settings['source']}{guided}.",
        "",
        markdown_table(HEAD, map(_row, comparisons)),
        "",
        "Each part was given what the pipeline's own part was given; `steps`: all of them from the pipeline's source;"
        " `prediction`: from frames to frames. PSNR and largest differences are those of the worst batch; differences"
        " of frames are in levels of 255.",
    ]
    return "\n".join(lines)


def _row(comparison: Comparison) -> tuple[str, ...]:
    frames = comparison.what == "frames"
    return (
        comparison.part,
        comparison.what,
        str(comparison.steps or ""),
        comparison.precision,
        "" if comparison.relative is None else f"{comparison.relative:.1e}",
        "" if comparison.worst is None else f"{comparison.worst:.1e}",
        f"{comparison.largest:.0f}" if frames else f"{comparison.largest:.1e}",
        shown_psnr(comparison) if frames else "",
        f">= {comparison.limit:g}" if frames else f"<= {comparison.limit:.1e}",
        "ok" if comparison.passed else "FAILED",
    )
