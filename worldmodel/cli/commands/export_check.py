"""`worldmodel export check`: rules for every TensorRT that a target may have, and NVIDIA's builder where installed."""

from dataclasses import asdict, dataclass
from typing import Any

from worldmodel.errors import InputError
from worldmodel.export.check import tensorrt_rtx
from worldmodel.export.check.report import PartReport, part_report, precision_by_part, table
from worldmodel.export.check.targets import TargetName, check_precision, target_named
from worldmodel.export.engines import chosen_parts
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.measure.report import publish
from worldmodel.settings import Settings, Text


@dataclass(frozen=True)
class CheckConfig(Settings):
    """Which artifact, for which machine.

    Attributes:
        artifact: folder that `worldmodel export` wrote.
        target: orin (JetPack 6 and 7.2), thor (JetPack 7) or x86.
        build: also parse and build with NVIDIA's TensorRT-RTX; by default where it is installed.
        parts: of the artifact, such as [step]; by default all.
    """

    artifact: Text
    target: TargetName
    build: bool | None = None
    parts: tuple[Text, ...] = ()


def check(config: CheckConfig) -> list[PartReport]:
    """Print a table and, last, a line of JSON.

    Raises:
        InputError: no such artifact or part, a precision that the chip lacks, or a part that will not build; the line
            names the operator.
    """
    artifact, target = Artifact.open(config.artifact), target_named(config.target)
    parts = chosen_parts(artifact, config.parts, tuple(artifact.manifest.parts))
    check_precision(config.target, precision_by_part(artifact.manifest, parts))
    files = artifact.onnx_files(parts)
    build = tensorrt_rtx.installed() is not None if config.build is None else config.build
    reports = [part_report(part, files[part], target, artifact.manifest, build) for part in parts]
    problems = [problem for report in reports for problem in report.problems]
    publish(table(target, reports, build), _summary(config, reports, problems))
    if problems:
        more = f" (and {len(problems) - 1} more, see above)" if len(problems) > 1 else ""
        raise InputError(
            f"{config.artifact} will not build for target={config.target}: {problems[0]}{more};"
            " export with another precision or size, or report the operator"
        )
    return reports


def _summary(config: CheckConfig, reports: list[PartReport], problems: list[str]) -> dict[str, Any]:
    built = {report.part: asdict(report.built) for report in reports if report.built}
    return {"artifact": config.artifact, "target": config.target, "problems": problems, "tensorrt_rtx": built}
