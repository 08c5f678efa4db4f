"""Artifacts of very small models, each exported once a session: `artifact(family, precision)`."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MakeOnce = Callable[[str, Callable[[Path], object]], Path]
MakeArtifact = Callable[..., Path]
MakeConfig = Callable[..., Any]


@pytest.fixture(scope="session")
def saved_pipeline(made_once: MakeOnce) -> Callable[[str], Path]:
    """The folder of a small pipeline of this family (`tiny`, `ltx`, `wan`), with `prompt.safetensors` in it."""
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    from export_models import save_pipeline

    return lambda family: made_once(f"pipelines/{family}", lambda folder: save_pipeline(family, folder))


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
def artifact(export_config: MakeConfig, made_once: MakeOnce) -> MakeArtifact:
    """artifact(family, precision, **keys of ExportConfig): the folder, exported at its first use; only to be read."""
    from worldmodel.export.exporting import export

    def folder(family: str, precision: str = "fp32", **keys: object) -> Path:
        name = f"{family}-{precision}"
        if keys:
            name += f"-{hashlib.sha256(repr(sorted(keys.items())).encode()).hexdigest()[:8]}"
        return made_once(
            f"artifacts/{name}", lambda out: export(export_config(family, precision, out=str(out), **keys))
        )

    return folder


@pytest.fixture(scope="session")
def drive(made_once: MakeOnce) -> str:
    """A folder of 24 noisy images."""

    def write(folder: Path) -> None:
        rng = np.random.default_rng(0)
        folder.mkdir()
        for number in range(24):
            Image.fromarray(rng.integers(0, 256, (32, 48, 3), np.uint8)).save(folder / f"{number:03d}.png")

    return str(made_once("drive", write))


@pytest.fixture(scope="session")
def int8_artifact(artifact: MakeArtifact, drive: str) -> Callable[[str], Path]:
    """int8_artifact(family): calibrated by `drive`, with `single.onnx`; the step of tiny is quantised from fp32, the
    others' from fp16."""

    def folder(family: str) -> Path:
        wide = "fp32" if family == "tiny" else "fp16"
        keys = {"calibration": drive, "calibration_batches": 1, "single_file": True, "quantise_from": wide}
        return artifact(family, "int8", **keys)

    return folder
