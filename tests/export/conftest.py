"""Artifacts of very small models, each exported once a session: `artifact(family, precision)`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MakeArtifact = Callable[..., Path]
MakeConfig = Callable[..., Any]


@pytest.fixture(scope="session")
def saved_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small pipeline of this family (`tiny`, `ltx`, `wan`), with `prompt.safetensors` in it."""
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    from export_models import save_pipeline

    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = save_pipeline(family, tmp_path_factory.mktemp("pipelines") / family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def export_config(saved_pipeline: Callable[[str], Path]) -> MakeConfig:
    """What `artifact` exports with; `ltx` and `wan` have a prompt and guidance."""

    from export_models import CHUNK, GUIDANCE

    from worldmodel.export.config import ExportConfig

    def config(family: str, precision: str, **keys: object) -> ExportConfig:
        folder = saved_pipeline(family)
        defaults = {
            "checkpoint": str(folder),
            "frames": CHUNK.frames,
            "height": CHUNK.height,
            "width": CHUNK.width,
            "cameras": CHUNK.cameras,
            "steps": (5, 10),
            "precision": precision,
            "guidance": GUIDANCE[family],
            "prompt_embeds": None if family == "tiny" else str(folder / "prompt.safetensors"),
        }
        return ExportConfig(**(defaults | keys))

    return config


@pytest.fixture(scope="session")
def artifact(export_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> MakeArtifact:
    """artifact(family, precision, **keys of ExportConfig): the folder, exported at its first use."""
    from worldmodel.export.exporting import export

    made: dict[object, Path] = {}

    def folder(family: str, precision: str = "fp32", **keys: object) -> Path:
        key = (family, precision, tuple(sorted(keys.items())))
        if key not in made:
            out = tmp_path_factory.mktemp("artifacts") / f"{family}-{precision}"
            export(export_config(family, precision, out=str(out), **keys))
            made[key] = out
        return made[key]

    return folder


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of 24 noisy images."""
    folder, rng = tmp_path_factory.mktemp("drive"), np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(rng.integers(0, 256, (32, 48, 3), np.uint8)).save(folder / f"{number:03d}.png")
    return str(folder)


@pytest.fixture(scope="session")
def int8_artifact(artifact: MakeArtifact, drive: str) -> Callable[[str], Path]:
    """int8_artifact(family): calibrated by `drive`, with `single.onnx`; the step of tiny is quantised from fp32, the
    others' from fp16."""

    def folder(family: str) -> Path:
        wide = "fp32" if family == "tiny" else "fp16"
        keys = {"calibration": drive, "calibration_batches": 1, "single_file": True, "quantise_from": wide}
        return artifact(family, "int8", **keys)

    return folder
