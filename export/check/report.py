"""What rules and NVIDIA's builder, where installed, say of each part of an artifact, as records and as a table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from worldmodel.errors import UserError
from worldmodel.export.check import tensorrt_rtx
from worldmodel.export.check.parsers import parser_of
from worldmodel.export.check.rules import Finding, check_graph, load_graph
from worldmodel.export.check.targets import Target
from worldmodel.export.engine_process import Built
from worldmodel.export.engines import profile
from worldmodel.export.runtime.manifest import Manifest

SHOWN = 5  # findings of one part and version


@dataclass(frozen=True)
class PartReport:
    """One part.

    Attributes:
        findings: by TensorRT version.
        built: what NVIDIA's builder made of it, None where it was not asked; `refused` is what it said instead.
    """

    part: str
    findings: Mapping[str, list[Finding]]
    built: Built | None = None
    refused: str | None = None

    @property
    def problems(self) -> list[str]:
        """Sentences that name this part, each once."""
        fatal = [str(finding) for found in self.findings.values() for finding in found if finding.fatal]
        return [f"{self.part}: {said}" for said in dict.fromkeys(fatal + ([self.refused] if self.refused else []))]


def precision_by_part(manifest: Manifest, parts: tuple[str, ...]) -> dict[str, str]:
    """Precision of each of these parts; a single file computes in all three."""
    known = asdict(manifest.precision)
    stages = {part: ("encoder", "step", "decoder") if part == "single" else (part.partition("_")[0],) for part in parts}
    return {stage: known[stage] for part in parts for stage in stages[part]}


def part_report(part: str, path: Path, target: Target, manifest: Manifest, build: bool) -> PartReport:
    """What every TensorRT of the target would say of one part's ONNX file, and its builder where that is wanted."""
    model = load_graph(path)
    findings = {version: check_graph(model, parser_of(version)) for version in target.tensorrt.values()}
    if not build:
        return PartReport(part, findings)
    try:
        return PartReport(part, findings, built=tensorrt_rtx.build(path, target.stand_in, profile(manifest, part)))
    except UserError as error:
        return PartReport(part, findings, refused=str(error))


def table(target: Target, reports: list[PartReport], build: bool) -> str:
    """Markdown: one row a part; below it what is wrong, and what is slow."""
    versions = {version: f"TensorRT {version} ({system})" for system, version in target.tensorrt.items()}
    rtx = f"TensorRT-RTX {tensorrt_rtx.installed()} for {target.stand_in}"
    lines = [
        f"{target}; rules are read from documents, {'a build says more' if build else 'no builder was asked'}",
        "",
        "| part | " + " | ".join(versions.values()) + f" | {rtx if build else 'TensorRT-RTX'} |",
        "| --- |" + " --- |" * (len(versions) + 1),
    ]
    for report in reports:
        cells = [_verdict(report.findings[version]) for version in versions]
        lines.append(f"| {report.part} | " + " | ".join([*cells, _built(report, build)]) + " |")
    notes = [
        f"{report.part}: {finding}" for report in reports for found in report.findings.values() for finding in found
    ]
    shown = list(dict.fromkeys([problem for report in reports for problem in report.problems] + notes))
    extra = f"- and {len(shown) - SHOWN * len(reports)} more"
    lines += [""] * bool(shown) + [f"- {one}" for one in shown[: SHOWN * len(reports)]]
    return "\n".join(lines + [extra] * (len(shown) > SHOWN * len(reports)))


def _verdict(findings: list[Finding]) -> str:
    fatal = sum(finding.fatal for finding in findings)
    return f"{fatal} refused" if fatal else "ok" if not findings else f"ok, {len(findings)} slow"


def _built(report: PartReport, build: bool) -> str:
    if report.built is not None:
        one = report.built
        return f"built in {one.seconds:.1f} s, {one.bytes / 1e6:.1f} MB, {one.peak_memory_mb / 1e3:.1f} GB needed"
    if build:
        return "refused"
    return "not installed" if tensorrt_rtx.installed() is None else "not asked"
